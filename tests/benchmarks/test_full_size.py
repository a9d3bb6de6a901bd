"""The benchmark of full-size models, on a small one of the same class."""
import json
import re
import subprocess
import sys
import time

import pytest
import support
import torch

import run_benchmark
import workspace
from installing import child_variables

SCRIPT = workspace.PACK / "benchmarks" / "models" / "full_size.py"


def run(given, variables):
    done = subprocess.run([sys.executable, str(SCRIPT), "--loaded", json.dumps(given)], capture_output=True, text=True,
                          env={**variables, "OMP_NUM_THREADS": "1"}, timeout=600)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")], done


@pytest.fixture
def variables(comfyui, monkeypatch):
    import os

    return {**child_variables(), **run_benchmark.import_path(),
            "MENTAL_AVERAGES_COMFYUI": os.environ["MENTAL_AVERAGES_COMFYUI"]}


def test_a_small_model_passes_every_part(variables, tmp_path):
    case = {"name": "SD3", "dtype": "float32", "size": 8, "small": True}
    rows, done = run({"cases": [case], "dynamic": False, "folder": str(tmp_path), "until": 1e12}, variables)
    assert len(rows) == 1, done.stderr
    (row,) = rows
    assert not [value for value in row.values() if str(value).startswith("failed")] and "failed" not in row
    assert row["sampling"].endswith("the same") and row["again"].endswith("the same")
    assert "off by" in row["gradient"] and "off by" in row["preview"]
    for part in ("loading", "sampling", "gradient", "alignment", "mean shift", "Gauss-Newton", "preview", "again"):
        # Torch alone takes more than that of the process, which is what is looked at without a GPU.
        assert 0.1 < float(re.match(r"\d+\.\d\d s, (\d+\.\d\d) GiB", row[part])[1]) < 100, part


def test_the_most_memory_that_was_in_use_is_seen():
    """Also what came and went within the block and is not in use any more when it ends."""
    told = iter([5, 3, 9, 4])
    with support.PeakMemory(lambda: next(told, 2) * 2**30) as peak:
        deadline = time.monotonic() + 10
        while peak.gib < 9 and time.monotonic() < deadline:
            time.sleep(0.001)
    assert peak.gib == 9
    # Of the process itself: half a GiB that is written to is there.
    with support.PeakMemory() as peak:
        before = peak.gib
        assert torch.ones(2**27)[-1] == 1
    assert torch.cuda.is_available() or before + 0.3 < peak.gib


def test_what_has_no_time_left_is_said_to_be_left_out(variables, tmp_path):
    case = {"name": "SD3", "dtype": "float32", "size": 8, "small": True}
    rows, done = run({"cases": [case], "dynamic": False, "folder": str(tmp_path), "until": 0}, variables)
    assert [row["left out"] for row in rows] == ["no time was left"], done.stderr


def test_weights_are_written_whole_in_dynamic_vram_too(comfyui, monkeypatch, tmp_path):
    """There core builds layers without weights."""
    import comfy.memory_management
    from safetensors.torch import load_file

    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import _loaded

    found = []
    for enabled in (False, True):
        monkeypatch.setattr(comfy.memory_management, "aimdo_enabled", enabled)
        (folder := tmp_path / str(enabled)).mkdir()
        found.append(load_file(_loaded.write_weights(_loaded.Case("SD3", "float32", 8, True), folder)))
        assert comfy.memory_management.aimdo_enabled is enabled
    assert found[0].keys() == found[1].keys() and all(torch.equal(found[0][key], found[1][key]) for key in found[0])


@pytest.mark.parametrize("name", support.ARCHITECTURES)
def test_full_models_are_known_by_their_weights(comfyui, name):
    """What the benchmark writes to a file is what ComfyUI's loader takes for that model, and nothing else."""
    import comfy.model_detection
    import comfy.supported_models

    network = {**support.ARCHITECTURES[name].network, "dtype": torch.float32}
    with torch.device("meta"):
        model = getattr(comfy.supported_models, name)(network).get_model({}, device="meta")
    found = comfy.model_detection.model_config_from_unet(model.diffusion_model.state_dict(), "")
    assert type(found).__name__ == name
