"""Whether a change of the code has changed a result: everything that draws or trains, by node, bit by bit.

    python tools/run_benchmark.py unchanged --record FOLDER      before the change
    python tools/run_benchmark.py unchanged --compare FOLDER     after it, on the same machine

Nodes are asked by their ids, which are a public contract, so that nothing here depends on where code stands. Each run
that keeps a state on disk is made three times when recorded: to the end, to an interrupt in the middle, and on from
there. What the interrupt left is kept; the code that is compared has to go on from it to the same bits. Another
processor or number of threads adds up in another order, so a record is worth nothing elsewhere, and is not kept in the
repository.
"""
from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import pack

# Of a report: how long it took is never the same twice.
CLOCKS = ("seconds", "sampling_seconds")


def main() -> None:
    import argparse

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--record", metavar="FOLDER", type=Path)
    choice.add_argument("--compare", metavar="FOLDER", type=Path)
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    options = parser.parse_args()
    pack.load_pack()
    pack.load_comfyui()
    torch.set_num_threads(1)
    world = World()
    cases = {name: case for name, case in world.cases().items() if options.only in name}
    if options.record:
        record(world, cases, options.record)
    elif not compare(world, cases, options.compare):
        raise SystemExit(1)


def record(world: World, cases: dict[str, Case], folder: Path) -> None:
    for name, case in cases.items():
        where = folder / name
        where.mkdir(parents=True, exist_ok=True)
        calls = world.calls_of(case)
        save(world.run(case, where / "finished" if case.resumes else None), where / "result.safetensors")
        if case.resumes:
            for share in (0.5, 0.7, 0.9, 0.97):  # until one of its saves is behind it
                world.interrupted(case, where / "interrupted", int(share * calls))
                if (where / "interrupted").exists():
                    break
            if not (where / "interrupted").exists():
                print(f"{name}: {calls} calls, keeps no state before its end", flush=True)
                continue
            found = world.run(case, copied(where / "interrupted"))
            same = differences(found, load(where / "result.safetensors"))
            for share in (0.5, 0.7, 0.9, 0.97):  # until one of its saves is behind it
                world.interrupted(case, where / "interrupted", int(share * calls))
                if (where / "interrupted").exists():
                    break
            if not (where / "interrupted").exists():
                print(f"{name}: {calls} calls, keeps no state before its end", flush=True)
                continue
            found = world.run(case, copied(where / "interrupted"))
            same = differences(found, load(where / "result.safetensors")) or "goes on to the same bits"
            print(f"{name}: {calls} calls, interrupted at {share:.0%}, {same}", flush=True)
        else:
            print(f"{name}: {calls} calls", flush=True)


def compare(world: World, cases: dict[str, Case], folder: Path) -> bool:
    wrong = 0
    for name, case in cases.items():
        where, found = folder / name, {}
        runs = {"anew": None} if not case.resumes else {
            "anew": Path(tempfile.mkdtemp()), "from an interrupted state": where / "interrupted",
            "from a finished state": where / "finished"}
        runs = {kind: copied(state) if state and state.is_relative_to(folder) else state for kind, state in runs.items()
                if state is None or state.exists()}
        calls = {}
        for kind, state in runs.items():
            found[kind] = differences(world.run(case, state), load(where / "result.safetensors"))
            calls[kind] = world.calls
        # A state that is not found costs as much as a new run, and gives the same.
        order = list(calls.values())
        if not all(before > after for before, after in zip(order, order[1:])):
            found["from a finished state"] += f" the states were not used: calls {calls}"
        wrong += any(found.values())
        print(f"{name}: {'the same' if not any(found.values()) else found}, calls {list(calls.values())}", flush=True)
    print(f"{len(cases) - wrong} of {len(cases)} cases are the same to the last bit")
    return not wrong


def copied(folder: Path) -> Path:
    copy = Path(tempfile.mkdtemp()) / "user"
    shutil.copytree(folder, copy)
    return copy


def save(content: dict[str, Any], path: Path) -> None:
    from safetensors.torch import save_file

    tensors = {name: value.contiguous().clone() for name, value in content.items() if isinstance(value, Tensor)}
    texts = {name: value for name, value in content.items() if isinstance(value, str)}
    save_file(tensors or {"": torch.zeros(1)}, path, metadata=texts)


def load(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return {**{name: file.get_tensor(name) for name in file.keys() if name}, **(file.metadata() or {})}


def differences(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """What differs, in words; empty if nothing does."""
    wrong = [f"{name} is missing" for name in sorted(found.keys() ^ expected.keys())]
    for name in found.keys() & expected.keys():
        if isinstance(found[name], str):
            if found[name] != expected[name]:
                wrong.append(f"{name}: {found[name][:300]} instead of {expected[name][:300]}")
        elif not torch.equal(found[name].nan_to_num(), expected[name].nan_to_num()):
            wrong.append(f"{name} by {(found[name] - expected[name]).abs().max().item():.3g}")
    return "; ".join(wrong)


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
        for name, module in list(sys.modules.items()):
            if name.startswith(pack.NAME) and hasattr(module, "SECONDS_BETWEEN_SAVES"):
                module.SECONDS_BETWEEN_SAVES = 0.0
        try:
            self.run(case, folder)
        except comfy.model_management.InterruptProcessingException:
            return
        raise SystemExit(f"{case.node} was not interrupted.")

    def hspace(self, model: Any, layer: str = "auto", pooling: str = "none") -> Any:
        return self.nodes["HSpaceHook"].execute(model, layer, pooling).args[0]

    def cases(self) -> dict[str, Case]:
        latent, flow_latent = {"samples": torch.zeros(1, 4, 8, 8)}, {"samples": torch.zeros(1, 16, 8, 8)}
        noise = torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(5))
        pictures = {"samples": 0.2 * noise}
        flow_latent = {"samples": torch.zeros(1, self.flow.model.latent_format.latent_channels, 8, 8)}
        flow_pictures = {"samples": 0.2 * torch.randn(2, *flow_latent["samples"].shape[1:],
                                                      generator=torch.Generator().manual_seed(6))}
        align = dict(hspace=self.hspace(self.model), positive=self.heart, negative=self.empty, latent_image=latent,
                     count=9, steps=6, aligned_steps=3, iterations=12, learning_rate=0.02, cfg=5.0,
                     scheduler="ddim_uniform", seed=3, keep=2, batch_size=4)
        flow = dict(hspace=self.hspace(self.flow), positive=self.flow_heart, negative=self.flow_empty,
                    latent_image=flow_latent)
        mixture = dict(hspace=self.hspace(self.model, pooling="mean"), positive=self.heart, negative=self.empty,
                       latent_image=latent, count=12, components={"components": "bic", "smallest": 1, "largest": 3},
                       steps=6, aligned_steps=2, cfg=3.0, scheduler="normal", seed=1, preset="standard",
                       mixture_level=0.3, batch_size=5)
        invert = dict(model=self.model, positive=self.heart, latent_image={"samples": pictures["samples"][:2]}, steps=6,
                      scheduler="ddim_uniform", cfg=1.0, seed=0, negative=self.empty)
        methods = {
            "ddim": {"told": "target"}, "fixed_point": {"tolerance": 1e-5, "iterations": 8, "history": 3},
            "exact": {"gamma": 0.95}, "negative_prompt": {}, "null_text": {"iterations": 4, "learning_rate": 0.01},
            "midpoint": {}, "fireflow": {},
        }
        train = dict(model=self.model, latents=pictures, steps=8, learning_rate=1e-3, seed=2, batch_size=2,
                     preview_interval=3)
        cases = {
            "align_adam": Case("AlignTrajectories",
                               {**align, "solver": "Adam", "carried": 0, "own_noise": 1.0, "mean_error": 0.0,
                                "plateau": 0.0, "tolerance": 0.0}, "resume"),
            "align_standard": Case("AlignTrajectories", {**align, "preset": "standard", "restored_noise": 0.5},
                                   "resume"),
            "align_draft": Case("AlignTrajectories", {**align, "preset": "draft", "count": 40}, "resume"),
            "align_gauss_newton": Case("AlignTrajectories",
                                       {**align, "solver": "Gauss-Newton", "iterations": 2, "count": 3}, "resume"),
            "align_none": Case("AlignTrajectories", {**align, "aligned_steps": 0}, "resume"),
            "align_guided": Case("AlignTrajectories",
                                 {**align, "branch": "guided", "save_memory": True, "iterations": 3}, "resume"),
            "align_flow": Case("AlignTrajectories", {**align, **flow, "solver": "L-BFGS", "count": 5}, "resume"),
            "mixture": Case("AlignMixtureModes", mixture, "resume"),
            "mixture_of_samples": Case("AlignMixtureModes",
                                       {**mixture, "samples": pictures, "minimum_size": 1, "components":
                                        {"components": "fixed", "modes": 2}}, "resume"),
            "lora": Case("TrainModeLoRA", {**train, "positive": self.heart, "rank": 2, "target": "all linear and conv"},
                         "resume"),
            "embedding": Case("TrainModeEmbedding",
                              {**train, "clip": self.clip, "name": "mode", "initial_text": "heart", "vectors": 2,
                               "template": "{}"}, "resume"),
            "probe": Case("SemanticLayerProbe", dict(
                model=self.model, prompts={"prompts0": self.heart, "prompts1": self.cat}, negative=self.empty,
                latent_image=latent, samples=4, levels="0, 0.3", steps=6, cfg=5.0, scheduler="normal", seed=0,
                pooling="none", matched=1, iterations=3, batch_size=3), "cached"),
            "capture": Case("CaptureHSpace", dict(hspace=self.hspace(self.model), positive=self.heart, latent=pictures,
                                                  percent=0.4, seed=1)),
            "zero": Case("ZeroLatent",
                         dict(model=self.model, positive=self.heart, negative=self.empty, latent_image=latent, steps=6,
                              cfg=5.0, scheduler="karras", noise_scale=0.3, seed=4)),
            "statistics": Case("LatentStatistics", dict(latents={"latents0": {"samples": noise}}, subsets=4, seed=0)),
            "offset": Case("LatentOffset", dict(latent={"samples": noise}, offsets="0, 0.4")),
            "medoid": Case("MedoidSelect",
                           dict(images=torch.rand(5, 8, 8, 3, generator=torch.Generator().manual_seed(0)))),
            "rf_inversion": Case("DDIMInvert", {**invert, "model": self.flow, "positive": self.flow_heart,
                                                "negative": self.flow_empty, "latent_image": flow_pictures,
                                                "method": {"method": "rf_inversion", "gamma": 0.5, "eta": 1.0,
                                                           "controlled": 0.25}}),
            "back": Case("DDIMSample",
                         dict(model=self.model, positive=self.heart, negative=self.empty, latent={"samples": noise[:3]},
                              steps=6, scheduler="normal", cfg=4.0)),
        }
        for method, options in methods.items():
            guidance = 4.0 if method in ("null_text", "negative_prompt") else 1.0
            cases[f"invert_{method}"] = Case("DDIMInvert",
                                             {**invert, "cfg": guidance, "method": {"method": method, **options}})
        for method in ("lin", "fix", "nin", "restored_variance", "lol", "slerp", "slerp_common"):
            for adjustment in ("none", "global", "channel", "low_pass"):
                two = {"latents0": {"samples": noise[:2] + 0.1}}
                cases[f"mix_{method}_{adjustment}"] = Case("ChannelMeanInterpolate", dict(
                    latents=two, weights="0.3 0.7\n1 0", method=method, mean_adjustment=adjustment))
        return cases


def flat(value: Any, name: str = "result") -> dict[str, Any]:
    """Tensors and texts in nested results by their place, clocks left out."""
    if isinstance(value, Tensor):
        return {name: value.detach().cpu()}
    if hasattr(value, "to_json"):
        return {name: json.dumps(without_clocks(json.loads(value.to_json())), sort_keys=True)}
    if dataclasses.is_dataclass(value):
        value = [getattr(value, field.name) for field in dataclasses.fields(value)]
    if isinstance(value, dict):
        return {key: item for part, child in value.items() for key, item in flat(child, f"{name}.{part}").items()}
    if isinstance(value, (list, tuple)):
        return {key: item for part, child in enumerate(value) for key, item in flat(child, f"{name}.{part}").items()}
    return {name: repr(value)} if isinstance(value, (str, int, float, bool)) else {}


def without_clocks(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_clocks(item) for key, item in value.items() if key not in CLOCKS}
    return [without_clocks(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
