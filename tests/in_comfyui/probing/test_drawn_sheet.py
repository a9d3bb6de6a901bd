"""The end of a sheet's graph: what it takes, and all averages as one batch."""
import pytest
import torch

from mental_averages.dma.metrics import ConceptCell


def cell(height=64, width=64, value=255):
    return ConceptCell(average=torch.full((height, width, 3), value, dtype=torch.uint8))


def drawn(cells, **change):
    from mental_averages.nodes.probing import ConceptSheetDrawn

    arguments = dict(words="a\nb", columns="x\ny", attributes="", title="", cell=128, settings='{"seed": 1}')
    return ConceptSheetDrawn.execute(**{**arguments, **change}, **cells).args


def test_cells_are_taken_by_their_names(comfyui):
    cells = {f"cell_{row}_{column}": cell(value=100 * row + 50 * column) for row in range(2) for column in range(2)}
    sheet, averages, table = drawn(dict(reversed(cells.items())))
    assert torch.equal((averages[:, 0, 0, 0] * 255).round(), torch.tensor([0.0, 50.0, 100.0, 150.0]))
    assert table.subjects() == ["a, x", "a, y", "b, x", "b, y"] and table.settings == {"seed": 1}
    assert sheet.ndim == 4


def test_averages_of_several_sizes(comfyui, monkeypatch):
    from mental_averages.nodes.probing import _drawn_sheet

    cells = [[cell(64, 64), cell(128, 256, 0)], [ConceptCell(problem="none"), cell(64, 32)]]
    found = _drawn_sheet.averages_of(cells)
    assert found.shape == (4, 64, 128, 3)
    assert (found[0, :, 32:96] == 1).all() and (found[0, :, :32] == 0.5).all() and (found[1] == 0).all()
    assert (found[2] == 0.5).all() and (found[3, :, 48:80] == 1).all() and (found[3, :, :48] == 0.5).all()
    monkeypatch.setattr(_drawn_sheet, "MOST_PIXELS", 4 * 32 * 64)
    assert _drawn_sheet.averages_of(cells).shape == (4, 32, 64, 3)


def test_the_last_checkpoint_is_let_go(comfyui):
    from mental_averages.nodes.comfyui import OneCheckpoint

    models = OneCheckpoint()
    models.stamp, models.loaded = ("x", 1, 1), (object(), None, None)
    drawn({"cell_0_0": cell()}, words="a", columns="x", models=models)
    assert models.loaded is None


def test_a_sheet_of_nothing_but_failures_fails(comfyui):
    with pytest.raises(ValueError, match="No cell of the sheet could be drawn. no VAE"):
        drawn({"cell_0_0": ConceptCell(problem="no VAE")}, words="a", columns="x")
