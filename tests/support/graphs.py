"""Graphs in API format for the server tests, and what came of queueing them."""
from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import safe_open

RUN_SECONDS = 600  # for one graph on a busy machine; on an idle one nothing here takes a tenth of it


def conditioned(checkpoint: str, prompt: str = "red heart") -> dict:
    """The nodes that every picture starts from."""
    return {
        "checkpoint": node("CheckpointLoaderSimple", ckpt_name=checkpoint),
        "positive": node("CLIPTextEncode", text=prompt, clip=["checkpoint", 1]),
        "negative": node("CLIPTextEncode", text="", clip=["checkpoint", 1]),
        "size": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "decode": node("VAEDecode", samples=["sample", 0], vae=["checkpoint", 2]),
        "picture": node("SaveImage", images=["decode", 0], filename_prefix="picture"),
    }


def mental_average(checkpoint: str, prompt: str = "red heart", layer: str = "auto", prefix: str = "average",
                   **settings) -> dict:
    """A small mental average with its picture and its report; `settings` are inputs of AlignTrajectories
    and of its preset custom."""
    chosen = dict(count=4, steps=8, cfg=4.0, scheduler="ddim_uniform", seed=0, batch_size=0, branch="conditional",
                  resume=True, restored_noise=0.0)
    effort = dict(aligned_steps=2, iterations=10, keep=1, tolerance=0.0, carried=0, solver="Adam", mean_error=0.0,
                  plateau=0.0, own_noise=1.0) | {"solver.learning_rate": 0.02}
    effort = {f"preset.{name}": settings.pop(name, value) for name, value in effort.items()}
    graph = conditioned(checkpoint, prompt)
    graph["picture"]["inputs"]["filename_prefix"] = prefix
    graph["hspace"] = node("HSpaceHook", model=["checkpoint", 0], layer=layer, pooling="none")
    graph["sample"] = node("AlignTrajectories", hspace=["hspace", 0], positive=["positive", 0],
                           negative=["negative", 0], latent_image=["size", 0], preset="custom", **effort,
                           **{**chosen, **settings})
    graph["report"] = node("SaveReport", report=["sample", 1], filename_prefix=prefix)
    return graph


def long_mental_average(checkpoint: str, **settings) -> dict:
    """One that can be stopped in the middle: matched one latent at a time, in steps that take seconds."""
    return mental_average(checkpoint, **{**dict(aligned_steps=3, iterations=60, batch_size=1, seed=7), **settings})


def plain_picture(checkpoint: str) -> dict:
    """An ordinary picture by core's nodes alone."""
    graph = conditioned(checkpoint)
    graph["sample"] = node("KSampler", model=["checkpoint", 0], positive=["positive", 0], negative=["negative", 0],
                           latent_image=["size", 0], seed=3, steps=4, cfg=4.0, sampler_name="euler",
                           scheduler="normal", denoise=1.0)
    return graph


def node(kind: str, **inputs) -> dict:
    return {"class_type": kind, "inputs": inputs}


@dataclass
class Run:
    """A graph that has finished. `progress` is that of the node "sample", as shares of its work."""

    entry: dict
    pictures: list[Path]
    progress: list[float] = field(default_factory=list)
    messages: list[dict] = field(default_factory=list)
    previews: list[bytes] = field(default_factory=list)

    @property
    def cached(self) -> list[str]:
        """The nodes that were answered from ComfyUI's cache, without running."""
        return dict(self.entry["status"]["messages"])["execution_cached"]["nodes"]

    def pixels(self, number: int = 0) -> np.ndarray:
        return pixels(self.pictures[number])

    def report(self, server) -> dict:
        """What SaveReport wrote, by the name that it left in the history."""
        text, = self.entry["outputs"]["report"]["text"]
        return json.loads((server.output_directory / text.removeprefix("Saved ")).read_text(encoding="utf-8"))


def finish(server, prompt_id: str) -> Run:
    """Wait for a queued graph; raises what `Server.wait` raises."""
    progress, messages, previews = [], [], []

    def on_progress(state):
        # Before its first own word, ComfyUI shows a running node at 0 of 1.
        if state.node_id == "sample" and state.maximum > 1:
            progress.append(state.value / state.maximum)

    def on_message(message):
        (previews if isinstance(message, bytes) else messages).append(message)

    entry = server.wait(prompt_id, on_progress, on_message, timeout=RUN_SECONDS)
    return Run(entry, server.output_paths(entry), progress, messages, previews)


def run(server, graph: dict, workflow: dict | None = None) -> Run:
    return finish(server, server.queue(graph, workflow))


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def saved_states(base: Path) -> list[Path]:
    return sorted((base / "user" / "mental_averages" / "runs").glob("*.safetensors"))


def wait_for_state(server, base: Path, prompt_id: str) -> Path:
    """Wait until the alignment of a queued graph has written what it has matched, to the only state in `base`.

    A state with most of a step's latents matched is passed by: the step would end before anybody can stop it.
    """
    end = time.monotonic() + RUN_SECONDS
    while not any(0 < meta["step"] + meta["matched"] and meta["matched"] <= meta["count"] / 2
                  for meta in map(meta_of, saved_states(base))):
        assert server.process.poll() is None, f"the server has ended: {server.log(15)}"
        assert not server.get(f"/history/{prompt_id}"), f"the run ended without a saved state: {server.log(15)}"
        assert time.monotonic() < end, f"no state on disk after {RUN_SECONDS} s: {server.log(15)}"
        time.sleep(0.1)
    state, = saved_states(base)
    return state


def meta_of(state: Path) -> dict:
    """What a saved state says of itself."""
    with safe_open(state, framework="np") as file:
        return json.loads(file.metadata()["meta"])


def share_done(state: Path, graph: dict) -> float:
    """The share of the alignment of `graph` that a saved state holds; fails if the alignment was complete."""
    meta = meta_of(state)
    inputs = graph["sample"]["inputs"]
    assert meta["step"] < inputs["preset.aligned_steps"], "the run was stopped too late to show anything"
    # A target that all latents have been matched to counts none of them as matched to the next one.
    return (meta["step"] + meta["update"] + meta["matched"] / inputs["count"]) / inputs["preset.aligned_steps"]
