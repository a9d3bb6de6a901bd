import subprocess
import sys

import pytest

import pack
from installing import child_variables
from mental_averages.dma.distributed import RayWorkers


def test_where_it_is_missing_it_is_said_how_it_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"needs Ray: install mental-averages\[ray\]"):
        RayWorkers(dict, 1)


def test_nothing_loads_it_unless_it_is_asked_for():
    script = "import sys, dma.distributed, dma.alignment, dma.mean_shift; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=pack.ROOT, env=child_variables()).returncode == 0
