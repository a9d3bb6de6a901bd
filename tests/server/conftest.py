import signal
import sys
from pathlib import Path

import pytest

import comfy_server
import pack
import workspace
from environment import Environment


@pytest.fixture(scope="session")
def environment():
    """The interpreter that runs the tests, and the ComfyUI that was prepared for them."""
    # Told to end by another program, pytest would leave its servers running; like this it tidies up as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return Environment(Path(sys.executable), pack.comfyui_folder())


@pytest.fixture(scope="session")
def make_base(tmp_path_factory):
    """Makes fresh base folders for a server that hold this pack and the demo checkpoint."""
    def make() -> Path:
        base = tmp_path_factory.mktemp("comfyui")
        workspace.add_checkpoint(base, pack.demo_checkpoint().resolve())
        return base

    return make


@pytest.fixture(scope="session")
def checkpoint():
    """The name under which the base folders have the demo checkpoint."""
    return pack.demo_checkpoint().resolve().name


@pytest.fixture(scope="session")
def base(make_base):
    """The base folder of `server`."""
    return make_base()


@pytest.fixture(scope="session")
def server(environment, base):
    """One running ComfyUI for all tests that leave it as it was.

    Its cache is the kind that drops what the last graph did not use, and nothing else: so a test decides whether a
    KSampler runs again, and whether it does so on the very model object that was there before.
    """
    with comfy_server.start(environment, base, extra_args=["--cache-classic"]) as running:
        yield running
