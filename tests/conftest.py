"""Makes the pack importable as `mental_averages` for every test, and ComfyUI for those that ask for it."""
import os
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
# What tests of several folders share.
sys.path.insert(0, str(Path(__file__).parent / "support"))
import pack

pack.load_pack()

# The other arithmetic of a processor that oneDNN does not know. ATEN_CPU_CAPABILITY and OMP_NUM_THREADS, which choose
# the rest of it, are torch's own.
if os.environ.get("MENTAL_AVERAGES_ONEDNN") == "off":
    torch.backends.mkldnn.enabled = False


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
