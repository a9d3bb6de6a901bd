"""Models and prompts turned to one mode, and averages of modes: what the benchmark of modes asks the nodes for."""
from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from support import SCHEDULER, STEPS, DemoModel, on_model, plain_samples, preset_settings, shifted_average
from torch import Tensor

import pack
from mental_averages.dma.alignment import align
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.mean_shift import Start

BATCH = 16
GUIDANCE = 3.0  # the paper's with adapters


@dataclass(frozen=True, eq=False)
class Source:
    """What pictures are made with: a MODEL and a CONDITIONING, and the CPU seconds that were spent on training them."""

    model: Any
    positive: list
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Mixture:
    """The modes of K samples that a mixture in the semantic space found, with the average of each."""

    samples: Tensor  # (K, C, H, W), in the model's units
    members: tuple[tuple[int, ...], ...]
    averages: Tensor  # (modes, C, H, W)
    in_own_mode: float  # share of the averages that the node's own measure finds in their mode
    seconds: float  # an average's share of the CPU seconds, sampling left out


def plain(demo: DemoModel, concept: str) -> Source:
    return Source(demo.model, pack.encode_prompt(demo.clip, concept))


def with_lora(demo: DemoModel, concept: str, latents: Tensor, steps: int, learning_rate: float, target: str) -> Source:
    """An adapter of rank 1 on the target's layers for latents (N, C, H, W) in the model's units."""
    from mental_averages.nodes.training import TrainModeLoRA

    started, source = time.process_time(), plain(demo, concept)
    with torch.inference_mode():
        _, adapted, _, _ = TrainModeLoRA.execute(
            demo.model, as_latent(demo, latents), source.positive, steps, learning_rate, 1, 0, target=target,
            preview_interval=0, resume=False).args
    return Source(adapted, source.positive, time.process_time() - started)


def with_embedding(demo: DemoModel, concept: str, latents: Tensor, steps: int, learning_rate: float) -> Source:
    """One trained vector, from the concept's own word on, for latents (N, C, H, W) in the model's units."""
    from mental_averages.nodes.training import TrainModeEmbedding

    started = time.process_time()
    with embeddings_elsewhere(), torch.inference_mode():
        _, conditioning, _, _ = TrainModeEmbedding.execute(
            demo.model, demo.clip, as_latent(demo, latents), "mode", concept, 1, "{}", steps, learning_rate, 0,
            preview_interval=0, resume=False).args
    return Source(demo.model, conditioning, time.process_time() - started)


def mixture(demo: DemoModel, concept: str, guidance: float, preset: str, count: int, seed: int) -> Mixture:
    """The modes of `count` samples without training, with the node's own choices."""
    from mental_averages.nodes.alignment import AlignMixtureModes
    from mental_averages.nodes.comfyui import latents_into_model

    started = time.process_time()
    with torch.inference_mode():
        averages, clusters, samples, report = AlignMixtureModes.execute(
            *_inputs_of_mixture(demo, concept), count, {"components": "bic", "smallest": 2, "largest": 6}, STEPS, 4,
            guidance, SCHEDULER, seed, preset, 0.3, resume=False).args
    spent, found = time.process_time() - started, len(clusters.members)
    averaging = spent * (1 - report.sampling_seconds / report.seconds)
    return Mixture(latents_into_model(demo.model, samples["samples"]), clusters.members,
                   latents_into_model(demo.model, averages["samples"]), report.in_own_mode / found, averaging / found)


def average_of_members(demo: DemoModel, concept: str, latents: Tensor, guidance: float, preset: str,
                       seed: int) -> Tensor:
    """The average (1, C, H, W) of a mode's own samples (N, C, H, W) without training, as AlignModes makes it."""
    from mental_averages.nodes.alignment import AlignMixtureModes
    from mental_averages.nodes.comfyui import latents_into_model

    with torch.inference_mode():
        averages = AlignMixtureModes.execute(
            *_inputs_of_mixture(demo, concept), len(latents), {"components": "fixed", "modes": 1}, STEPS, 4, guidance,
            SCHEDULER, seed, preset, 0.3, samples=as_latent(demo, latents), minimum_size=1, resume=False).args[0]
    return latents_into_model(demo.model, averages["samples"])


def _inputs_of_mixture(demo: DemoModel, concept: str) -> tuple:
    """The first inputs of AlignMixtureModes: semantic layer, prompts, size."""
    from mental_averages.nodes.comfyui import HSpace, resolve_layer

    return (HSpace(demo.model, resolve_layer(demo.model, "auto"), "none"), pack.encode_prompt(demo.clip, concept),
            pack.encode_prompt(demo.clip, ""), {"samples": torch.zeros(1, *demo.shape)})


def samples_of(demo: DemoModel, source: Source, guidance: float, count: int, seed: int) -> Tensor:
    """Plain samples (count, C, H, W), in the model's units."""
    return _on(demo, source, guidance, lambda denoiser, sigmas: plain_samples(
        denoiser, sigmas, demo.shape, count, seed, BATCH), layer=None)


def average_of(demo: DemoModel, source: Source, guidance: float, preset: str, count: int, seed: int) -> Tensor:
    """A mental average (1, C, H, W), in the model's units."""
    settings = preset_settings(preset, count, seed)
    return _on(demo, source, guidance,
               lambda denoiser, sigmas: align(denoiser, sigmas, demo.shape, settings, batch=BatchSize(BATCH)).latents)


def shifted(demo: DemoModel, source: Source, guidance: float, seed: int, members: Tensor | None = None,
            first: int = 0) -> Tensor:
    """An average by mean shift (1, C, H, W), in the model's units; from `members` (N, C, H, W) on at the step `first`
    if there are any."""
    start = None if members is None else Start.of(members, first)
    return _on(demo, source, guidance, lambda denoiser, sigmas: shifted_average(
        denoiser, sigmas, demo.shape, guidance, seed, start=start).latents, layer=None)


def _on(demo: DemoModel, source: Source, guidance: float, function: Callable, **options: Any) -> Any:
    return on_model(source.model, source.positive, pack.encode_prompt(demo.clip, ""), guidance, demo.shape, function,
                    **options)


def as_latent(demo: DemoModel, latents: Tensor) -> dict:
    from mental_averages.nodes import comfyui

    return comfyui.latents_out_of_model(demo.model, latents)


@contextlib.contextmanager
def embeddings_elsewhere() -> Iterator[None]:
    """Let embeddings be written to a folder that is gone afterwards, and not among those of the ComfyUI in use."""
    import folder_paths

    before = folder_paths.folder_names_and_paths["embeddings"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            folder_paths.folder_names_and_paths["embeddings"] = ([folder], before[1])
            yield
        finally:
            folder_paths.folder_names_and_paths["embeddings"] = before


def drop_idle_layers(demo: DemoModel) -> float:
    """Take the layers out of the demo's text encoder, where they add nothing; the CPU seconds that a training step
    loses by it.

    The demo checkpoint has the twelve layers of CLIP-L with outputs of zero, on which textual inversion would spend
    most of its time. Raises SystemExit if it makes a difference.
    """
    from mental_averages.nodes import comfyui

    with torch.inference_mode(False):
        prompt = comfyui.prompt_with_vectors(demo.clip, "{}", 1)
        vectors = prompt.vectors("woman", 1)
        with comfyui.differentiable_encoding(prompt) as encode:
            vectors[0].requires_grad_()
            for _ in range(2):  # the first is slower
                started = time.process_time()
                before = encode(vectors)[0][0]
                before.sum().backward()
                spent = time.process_time() - started
            demo.clip.cond_stage_model.clip_l.transformer.text_model.encoder.layers = torch.nn.ModuleList()
            after = encode(vectors)[0][0]
    if not torch.equal(before, after):
        raise SystemExit("The layers of this checkpoint's text encoder do something: this benchmark is for the demo "
                         "checkpoint.")
    return spent
