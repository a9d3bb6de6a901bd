"""The node pack and ComfyUI in this very process, for tests and benchmarks (run by run_tests.py and run_benchmark.py).

The pack is imported by path under the name `mental_averages`, as ComfyUI does it: its folder must never be on
`sys.path`, because its package `nodes` and ComfyUI's module `nodes` would hide each other.
"""
from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import workspace

ROOT = Path(__file__).resolve().parent.parent
NAME = "mental_averages"


def load_pack() -> ModuleType:
    """Make `mental_averages.dma` and `mental_averages.nodes` importable."""
    if NAME not in sys.modules:
        spec = importlib.util.spec_from_file_location(NAME, ROOT / "__init__.py",
                                                      submodule_search_locations=[str(ROOT)])
        module = importlib.util.module_from_spec(spec)
        sys.modules[NAME] = module
        spec.loader.exec_module(module)
    return sys.modules[NAME]


def find_ray() -> bool:
    """Make Ray importable in this process and in those that it starts; whether there is one."""
    folder = os.environ.get("MENTAL_AVERAGES_RAY")
    if folder and folder not in sys.path:
        sys.path.append(folder)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), folder)))
    found = importlib.util.find_spec("ray")
    return found is not None and found.origin is not None  # not a folder of that name


def comfyui_folder() -> Path:
    """The ComfyUI that the environment names; raises SystemExit with advice if there is none."""
    folder = os.environ.get("MENTAL_AVERAGES_COMFYUI")
    if not folder:
        raise SystemExit("Start this through tools/run_tests.py or tools/run_benchmark.py, which prepare a ComfyUI.")
    return Path(folder)


def load_comfyui() -> None:
    """Make ComfyUI's modules importable, on the CPU unless there is a GPU."""
    if "comfy.cli_args" in sys.modules:
        return
    import torch

    folder = str(comfyui_folder())
    sys.path.insert(0, folder)
    import comfy.options

    # ComfyUI reads its device from the command line, so for its import that has to be its own.
    arguments, sys.argv = sys.argv, ["main.py", *([] if torch.cuda.is_available() else ["--cpu"])]
    try:
        comfy.options.enable_args_parsing()
        import comfy.cli_args
        import nodes  # noqa: F401  registers core's nodes and their folders
    finally:
        sys.argv = arguments


def load_checkpoint(path: str | Path) -> tuple[Any, Any, Any]:
    """(MODEL, CLIP, VAE) of a checkpoint file, loaded under inference mode as ComfyUI runs its nodes."""
    import comfy.sd
    import torch

    with torch.inference_mode():
        return comfy.sd.load_checkpoint_guess_config(str(path), output_vae=True, output_clip=True)[:3]


def demo_checkpoint() -> Path:
    path = os.environ.get("MENTAL_AVERAGES_CHECKPOINT")
    if not path:
        raise SystemExit("Start this through tools/run_tests.py or tools/run_benchmark.py, which assemble the demo "
                         "model.")
    return Path(path)


def demo_transformer() -> Path:
    """The demo transformer's checkpoint, which lies beside the U-Net's."""
    return demo_checkpoint().resolve().with_name(workspace.TRANSFORMER_CHECKPOINT)


def encode_prompt(clip: Any, text: str) -> list:
    """CONDITIONING of a prompt, as CLIP Text Encode makes it."""
    import torch

    with torch.inference_mode():
        return clip.encode_from_tokens_scheduled(clip.tokenize(text))
