"""Every benchmark can be started: it imports what it needs and says what its options are."""
import json
import subprocess
import sys

import pytest

import run_benchmark
import workspace
from installing import child_variables

# In one process, because loading torch and the pack takes longer than all the rest. Code that only one benchmark uses
# has names that another benchmark may use too.
SHOW_HELP = """
import contextlib, io, json, runpy, sys

shown = {}
for name, path in json.loads(sys.argv[1]).items():
    folder, before = path.rpartition("/")[0], set(sys.modules)
    sys.path.insert(0, folder)
    sys.argv = [path, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as text:
        try:
            code = "did not end"
            runpy.run_path(path, run_name="__main__")
        except SystemExit as ended:
            code = ended.code
        except Exception as failure:
            code = repr(failure)
    shown[name] = [code, text.getvalue()]
    sys.path.remove(folder)
    for module in set(sys.modules) - before:
        if (getattr(sys.modules[module], "__file__", None) or "").startswith(folder + "/"):
            del sys.modules[module]
print(json.dumps(shown))
"""
SCRIPTS = run_benchmark.scripts(run_benchmark.BENCHMARKS)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Exit code and output of `--help`, by benchmark, from a folder of no meaning."""
    paths = {name: path.as_posix() for name, path in SCRIPTS.items()}
    ended = subprocess.run([sys.executable, "-c", SHOW_HELP, json.dumps(paths)], capture_output=True, text=True,
                           timeout=300, cwd=tmp_path_factory.mktemp("elsewhere"),
                           env={**child_variables(), **run_benchmark.import_path()})
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", SCRIPTS)
def test_benchmark_imports_and_explains_its_options(shown, name):
    code, text = shown[name]
    assert code in (0, None), code
    assert text.startswith(f"usage: {name}.py") and ("--quick" in text or name == "unchanged")


def test_repository_is_not_on_the_benchmarks_import_path():
    assert run_benchmark.import_path() == {"PYTHONPATH": str(workspace.PACK / "benchmarks")}
