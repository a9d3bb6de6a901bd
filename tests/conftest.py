"""Makes the pack importable as `mental_averages` for every test, and ComfyUI for those that ask for it."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import pack

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
pack.load_pack()


@pytest.fixture(scope="session")
def comfyui():
    """ComfyUI's modules in this process. No folder of tests may be called `nodes`: pytest would hide ComfyUI's
    module."""
    # Of tests/server pytest has made a package of the name of ComfyUI's module.
    if not hasattr(sys.modules.get("server"), "PromptServer"):
        sys.modules.pop("server", None)
    pack.load_comfyui()


@pytest.fixture(scope="session")
def demo(comfyui):
    """(MODEL, CLIP, VAE) of the demo checkpoint, loaded under inference mode as ComfyUI does."""
    return pack.load_checkpoint(pack.demo_checkpoint())
