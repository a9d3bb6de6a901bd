"""What stands for a concept: every rival and every average, from the same samples, by name."""
from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from support import (
    ROOT,
    DemoModel,
    on_model,
    plain_samples,
    preset_settings,
    shifted_average,
    timed,
)
from torch import Tensor

import pack
from mental_averages.dma import baselines, encoders
from mental_averages.dma.alignment import align
from mental_averages.dma.execution import BatchSize

KEPT = 2  # pictures of one ensemble, of methods that draw more than one
NOISE_SEED = 20_000  # of prototypes, apart from the seeds of the samples that they are made of
NAIVE_COUNT = 32  # K of the recipe's complete runs that are kept

PLAIN, BEST, VAE, ALIGNED_MEAN, D4M, MGD3, ZERO = ("plain sample", "best of K", "Avg VAE", "aligned pixel mean", "D4M",
                                                   "MGD3", "zero latent")
RECIPE, SHIFTED, STANDARD = "the paper's recipe", "mean shift", "preset standard"
KEYS = {"plain": PLAIN, "medoid": "medoid", "best_of_k": BEST, "avg_vae": VAE, "pixel_mean": "pixel mean",
        "aligned_mean": ALIGNED_MEAN, "d4m": D4M, "mgd3": MGD3, "zero_latent": ZERO, "recipe": RECIPE,
        "draft": "preset draft", "standard": STANDARD, "mean_shift": SHIFTED}


class Made(NamedTuple):
    """The pictures (kept, H, W, 3) of a method for one ensemble, and the seconds that it took, the samples left out."""

    pictures: Tensor
    seconds: float


class Prompt(NamedTuple):
    """A concept, and what scores pictures by it: the demo CLIP and its embedding (1, D) of the concept."""

    concept: str
    encoder: encoders.ImageEncoder
    embedding: Tensor

    @classmethod
    def of(cls, concept: str, encoder: encoders.ImageEncoder) -> Prompt:
        return cls(concept, encoder, encoders.embed_texts(encoder, [concept]))

    def pictures(self, pictures: Tensor) -> Tensor:
        """Unit-length embeddings (N, D)."""
        return encoders.embed_images(self.encoder, pictures.clamp(0, 1))


def made_of(demo: DemoModel, prompt: Prompt, seed: int, arguments: Any) -> tuple[dict[str, Made], Tensor]:
    """Every method's pictures of one ensemble of `arguments.count` samples, and the samples' pictures (K, H, W, 3)."""
    def on_concept(guidance: float, function: Callable, negative: str = "", **options: Any) -> Any:
        return on_model(demo.model, demo.encode([prompt.concept]), pack.encode_prompt(demo.clip, negative), guidance,
                        demo.shape, function, **options)

    def averages(denoiser: Any, sigmas: Tensor) -> dict[str, tuple[float, Tensor]]:
        found = {ZERO: timed(baselines.zero_latent_sample, denoiser, sigmas, demo.shape)}
        for name in ("draft", "standard"):
            seconds, average = timed(align, denoiser, sigmas, demo.shape,
                                     preset_settings(name, arguments.count, seed, keep=KEPT), batch=BatchSize(32))
            found[f"preset {name}"] = seconds, average.latents
        seconds, shifted = timed(shifted_average, denoiser, sigmas, demo.shape, arguments.guidance, seed,
                                 count=arguments.count)
        return {**found, SHIFTED: (seconds, shifted.latents)}

    def prototypes(centroids_of: Callable, samples_of: Callable, guidance: float, steps: int,
                   negative: str = "") -> tuple[float, Tensor]:
        def draw() -> Tensor:
            centroid = centroids_of(latents).means.expand(KEPT, -1, -1, -1)  # each with a noise of its own
            return on_concept(guidance, lambda denoiser, sigmas: samples_of(denoiser, sigmas, centroid,
                                                                            seed=NOISE_SEED + seed),
                              negative, steps=steps, layer=None, gradients=False)
        return timed(draw)

    latents = on_concept(arguments.guidance, lambda denoiser, sigmas: plain_samples(
        denoiser, sigmas, demo.shape, arguments.count, seed), layer=None, gradients=False)
    pictures = demo.decode(latents).clamp(0, 1)
    embedded_in, embeddings = timed(prompt.pictures, pictures)
    central = baselines.medoid(embeddings)
    best = baselines.best_of((embeddings @ prompt.embedding.T)[:, 0])
    vae_in, vae = timed(lambda: demo.decode(baselines.mean_of(demo.latents_of(pictures))))
    aligned_in, aligned = timed(baselines.aligned_mean, pictures)
    found = {
        PLAIN: Made(pictures[:KEPT], 0.0),
        "medoid": Made(pictures[central, None], embedded_in),
        BEST: Made(pictures[best, None], embedded_in),
        VAE: Made(vae, vae_in),
        "pixel mean": Made(baselines.mean_of(pictures), 0.0),
        ALIGNED_MEAN: Made(aligned.mean, aligned_in),
    }
    drawn = {
        D4M: prototypes(baselines.minibatch_centroids, baselines.d4m_samples, baselines.D4M_GUIDANCE,
                        baselines.D4M_STEPS, arguments.d4m_negative),
        MGD3: prototypes(baselines.kmeans_centroids, baselines.mode_guided_samples, baselines.MGD3_GUIDANCE,
                         baselines.MGD3_STEPS),
        **on_concept(arguments.guidance, averages),
    }
    found |= {name: Made(demo.decode(latent).clamp(0, 1), seconds) for name, (seconds, latent) in drawn.items()}
    recipe = kept_recipe(prompt.concept, seed, arguments)
    if recipe:
        found[RECIPE] = Made(demo.decode(recipe[1]).clamp(0, 1), recipe[0])
    return found, pictures


def kept_recipe(concept: str, seed: int, arguments: Any) -> tuple[float, Tensor] | None:
    """Seconds and final latent of the published recipe's complete run, where there is one of this size."""
    path = ROOT / "benchmarks" / "naive_pictures" / f"{concept.replace(' ', '_')}_{seed}.json"
    if arguments.count != NAIVE_COUNT or not path.exists():
        return None
    kept = json.loads(path.read_text())
    if kept["guidance"] != arguments.guidance:
        return None
    return float(kept["seconds"]), torch.tensor(kept["latent"]).view(1, 4, 8, 8)
