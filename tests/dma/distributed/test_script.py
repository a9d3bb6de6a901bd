"""The commands of docs/cluster.md: a Ray that is started by its own command, and the script that works on it."""
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from pipelines import write_pipeline
from ray_toys import ray_variables
from safetensors.torch import load_file

import pack
from launch import free_port

SMALL = ["--count", "8", "--steps", "4", "--preset", "standard", "--shape", "4", "8", "8", "--batch", "2"]
RAY = [sys.executable, "-c", "from ray.scripts.scripts import main; main()"]


def variables(tmp_path):
    """Ray's files in a folder of the test, so that no other Ray is found, and a token that lies where Ray puts it."""
    found = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_TMPDIR": str(tmp_path), **ray_variables(),
             "HOME": str(tmp_path)}
    del found["RAY_AUTH_TOKEN"]
    return found


def wait_for(port, head, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end and head.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.5)
    pytest.fail(f"Ray's head did not start; its exit status is {head.poll()}")


def command(pipeline, output, *further):
    return [sys.executable, str(pack.ROOT / "docs" / "average_on_ray.py"), str(pipeline), "a castle", str(output),
            *SMALL, *further]


@pytest.fixture
def folder():
    """One whose path is short: Ray's sockets lie in it, whose paths have 107 characters at most. Those of pytest's own
    folders are longer where tests run in several processes.
    """
    with tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as path:
        yield Path(path)


def test_workers_of_a_cluster_that_was_started_by_its_command(folder):
    if not pack.find_ray():
        pytest.skip("Ray is not installed: python tools/run_tests.py --ray installs it")
    pipeline, port = write_pipeline(folder / "pipeline"), free_port()
    environment = variables(folder)
    subprocess.run([*RAY, "get-auth-token", "--generate"], env=environment, stdout=subprocess.DEVNULL, check=True)
    assert (folder / ".ray" / "auth_token").exists()
    # In a group of its own, which is ended as a whole: `ray stop` would end every Ray of this machine.
    head = subprocess.Popen([*RAY, "start", "--head", "--block", "--port", str(port), "--num-cpus", "2",
                             "--include-dashboard=false", "--disable-usage-stats"], env=environment,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        environment["RAY_ADDRESS"] = f"127.0.0.1:{port}"
        wait_for(port, head)
        whole = subprocess.run(command(pipeline, folder / "two.safetensors"), env=environment, capture_output=True,
                               text=True)
        assert whole.returncode == 0, whole.stderr
        assert "residual" in whole.stdout and "100%" in whole.stdout
        states = ["--states", str(folder / "states"), "--workers", "1"]
        with subprocess.Popen(command(pipeline, folder / "one.safetensors", *states), env=environment,
                              stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if "aligned step 2" in line:
                    process.send_signal(signal.SIGINT)
                    break
            process.wait(timeout=120)
        assert process.returncode and list((folder / "states").iterdir()) and not (folder / "one.safetensors").exists()
        again = subprocess.run(command(pipeline, folder / "one.safetensors", *states), env=environment,
                               capture_output=True, text=True)
        assert again.returncode == 0 and "aligned step 1" not in again.stdout, again.stderr
        assert torch.equal(*(load_file(folder / f"{name}.safetensors")["latents"] for name in ("one", "two")))
    finally:
        head.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            head.wait(timeout=30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)
