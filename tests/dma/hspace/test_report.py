import dataclasses
import json

import pytest
import torch
from reports import LAYERS

from mental_averages.dma import hspace
from mental_averages.dma.hspace import LayerReport, layer_report


def gram_matrices():
    """(1, 2, P, N, P, N) of a layer whose features tell four prompts apart and of one whose do not."""
    generator = torch.Generator().manual_seed(0)
    prompts = 0.4 * torch.randn(4, 1, 20, generator=generator, dtype=torch.float64)
    noise = torch.randn(2, 4, 6, 20, generator=generator, dtype=torch.float64) / 20**0.5
    return torch.stack([hspace.gram(prompts + noise[0]), hspace.gram(noise[1])])[None]


@pytest.fixture
def report():
    index = torch.arange(4)[:, None]
    after = torch.linspace(0.1, 0.8, 8).view(1, 2, 4, 1)
    return layer_report({"sigmas": [14.6], "prompts": 4}, ["a.0", "b.0"], gram_matrices(),
                        hspace.LayerMatching(torch.ones_like(after), after, index), 2.0)


def test_report_round_trip_and_table(report):
    assert LayerReport.from_json(report.to_json()) == report
    table = report.table()
    assert "| **a.0** |" in table and "| b.0 |" in table and "14.6" in table and report.verdict() in table
    infinite = dataclasses.replace(report.layers[0], dimension=[None], left=[])
    other = dataclasses.replace(report, layers=[infinite, dataclasses.replace(report.layers[1], left=[])])
    assert LayerReport.from_json(other.to_json()) == other and "| many | not tried |" in other.table()
    only = dataclasses.replace(report, layers=report.layers[:1], runner_up=None, margin=None, margin_error=None)
    assert "only layer" in only.verdict() and LayerReport.from_json(only.to_json()) == only
    close = dataclasses.replace(report, margin=report.margin_error)
    assert ("take more samples" in close.verdict()
            and "take more samples" not in dataclasses.replace(report, margin_error=1e-9).verdict())


def test_damaged_reports_are_refused_with_a_sentence(report):
    text = json.loads(report.to_json())
    for change, message in (({"format": "something"}, "not a report of a layer probe"),
                            ({"version": 99}, "format version 99"),
                            ({"layers": [{"name": "a.0"}]}, "damaged"), ({"chosen": "c"}, "damaged.*'c'"),
                            ({"extra": 1}, "damaged")):
        with pytest.raises(ValueError, match=message):
            LayerReport.from_json(json.dumps({**text, **change}))
    with pytest.raises(ValueError, match="damaged"):
        LayerReport.from_json(json.dumps({key: value for key, value in text.items() if key != "chosen"}))
    with pytest.raises(ValueError, match="not JSON"):
        LayerReport.from_json(report.to_json()[:-20])


def test_a_saved_file_is_read_and_written_back_the_same():
    found = LayerReport.from_json(LAYERS)
    assert found.to_json() == json.dumps(json.loads(LAYERS), indent=1)
    assert found.layers[2].score is None and found.layers[1].dimension == [30.0, None]
    assert found.verdict().startswith("a.0 has the highest score, 0.800. It is 0.500 ahead of b.0, which is 5.0 ")
    assert "| c.0 | none | none, none | many, many | 0.90, 1.00 |" in found.table()
