"""The commands of tools/, as far as they go without preparing anything."""
import subprocess
import sys

import pytest

import run_benchmark
import workspace
from installing import child_variables


def command(name, *arguments):
    return subprocess.run([sys.executable, str(workspace.PACK / "tools" / name), *arguments], capture_output=True,
                          text=True, timeout=60, env=child_variables())


def test_quickstart_explains_its_options():
    shown = command("quickstart.py", "--help")
    assert shown.returncode == 0
    for option in ("--prompt", "--count", "--seed", "--out", "--checkpoint", "--comfyui", "--serve"):
        assert option in shown.stdout


@pytest.mark.parametrize("arguments, message", [
    (["--count", "0"], "--count 0 is out of range: it must be between 1 and 100000."),
    (["--checkpoint", "missing.safetensors"], "missing.safetensors does not exist."),
])
def test_quickstart_refuses_what_cannot_work_before_it_prepares_anything(arguments, message):
    refused = command("quickstart.py", *arguments)
    assert refused.returncode == 1
    assert message in refused.stderr and "Traceback" not in refused.stderr


def test_unknown_benchmark_is_answered_with_those_that_exist():
    refused = command("run_benchmark.py", "nonexistent")
    assert refused.returncode == 1
    assert "There is no benchmark called nonexistent." in refused.stderr and "Traceback" not in refused.stderr
    for script in run_benchmark.BENCHMARKS.glob("[!_]*.py"):
        assert script.stem in refused.stderr
