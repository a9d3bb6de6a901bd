"""The demo models, whose calls are counted and can be interrupted, and the pack's nodes by their ids.

Of the pack only its entry point is known here, and nothing of benchmarks/support, which changes with it.
"""
from __future__ import annotations

import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from _results import flat

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import pack


@dataclasses.dataclass(frozen=True)
class Case:
    """A node with its inputs; `resumes` is the input that makes it keep a state on disk, if it has one."""

    node: str
    inputs: dict[str, Any]
    resumes: str = ""


class World:
    """The demo models, the pack's nodes by id, and a count of calls of the network that can end in an interrupt."""

    def __init__(self) -> None:
        import asyncio

        entry = asyncio.run(sys.modules[pack.NAME].comfy_entrypoint())
        nodes = asyncio.run(entry.get_node_list())
        self.nodes = {node.GET_SCHEMA().node_id: node for node in nodes}
        self.calls, self.limit = 0, None
        model, self.clip, self.vae = pack.load_checkpoint(pack.demo_checkpoint())
        flow, flow_clip, _ = pack.load_checkpoint(pack.demo_transformer())
        self.model, self.flow = self.counting(model), self.counting(flow)
        self.heart, self.cat, self.empty = (pack.encode_prompt(self.clip, text)
                                            for text in ("red heart", "cat face", ""))
        self.flow_heart, self.flow_empty = (pack.encode_prompt(flow_clip, text) for text in ("red heart", ""))

    def counting(self, model: Any) -> Any:
        import comfy.model_management

        model = model.clone()

        def call(function, arguments):
            self.calls += 1
            if self.limit is not None and self.calls >= self.limit:
                self.limit = None
                comfy.model_management.interrupt_current_processing()
            return function(arguments["input"], arguments["timestep"], **arguments["c"])

        model.set_model_unet_function_wrapper(call)
        return model

    def run(self, case: Case, folder: Path | None = None) -> dict[str, Any]:
        """Everything that a node returns, as tensors and texts; its state is kept in `folder`."""
        import folder_paths

        folder_paths.user_directory = str(folder or tempfile.mkdtemp())
        folder_paths.output_directory = tempfile.mkdtemp()
        embeddings = tempfile.mkdtemp()
        folder_paths.folder_names_and_paths["embeddings"] = ([embeddings],
                                                             folder_paths.folder_names_and_paths["embeddings"][1])
        self.calls = 0
        with torch.inference_mode():
            result = self.nodes[case.node].execute(**case.inputs,
                                                   **({case.resumes: folder is not None} if case.resumes else {}))
        return flat(result.args)

    def calls_of(self, case: Case) -> int:
        self.run(case, Path(tempfile.mkdtemp()))
        return self.calls

    def interrupted(self, case: Case, folder: Path, calls: int) -> None:
        import comfy.model_management

        self.limit = calls
        try:
            self.run(case, folder)
        except comfy.model_management.InterruptProcessingException:
            return
        raise SystemExit(f"{case.node} was not interrupted.")

    def hspace(self, model: Any, layer: str = "auto", pooling: str = "none") -> Any:
        return self.nodes["HSpaceHook"].execute(model, layer, pooling).args[0]
