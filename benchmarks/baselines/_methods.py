"""What stands for a concept: every rival and every average, from the same samples, by name."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from support import (
    DemoModel,
    naive_runs,
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

NOISE_SEED = 20_000  # of prototypes, apart from the seeds of the samples that they are made of

PLAIN, BEST, VAE, ALIGNED_MEAN, D4M, MGD3, ZERO = ("plain sample", "best of K", "Avg VAE", "aligned pixel mean", "D4M",
                                                   "MGD3", "zero latent")
RECIPE, SHIFTED, STANDARD = "the paper's recipe", "mean shift", "preset standard"
KEYS = {"plain": PLAIN, "medoid": "medoid", "best_of_k": BEST, "avg_vae": VAE, "pixel_mean": "pixel mean",
        "aligned_mean": ALIGNED_MEAN, "d4m": D4M, "mgd3": MGD3, "zero_latent": ZERO, "recipe": RECIPE,
        "draft": "preset draft", "standard": STANDARD, "mean_shift": SHIFTED}
NO_GRADIENTS = {"layer": None, "gradients": False}
FROM_SAMPLES = ("medoid", BEST, VAE, "pixel mean", ALIGNED_MEAN, D4M, MGD3)  # what needs the K samples first


class Made(NamedTuple):
    """A method's picture (1, H, W, 3) of one ensemble, the seconds that it took, and another picture of the same
    ensemble where the method has more than one."""

    picture: Tensor
    seconds: float
    another: Tensor | None = None


class Samples(NamedTuple):
    """The pictures (K, H, W, 3) of K plain samples, and the seconds that they took."""

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


def made_of(demo: DemoModel, prompt: Prompt, seed: int, arguments: Any) -> tuple[dict[str, Made], Samples]:
    """Every method's picture of one ensemble of `arguments.count` samples, and these.

    Each is timed for one decoded picture, with all that it takes after the samples, where it takes these: to embed,
    encode or warp them, to make the model ready, to draw. Another picture of the ensemble is drawn apart from it.
    """
    def latents_of(function: Callable, guidance: float = arguments.guidance, negative: str = "",
                   **options: Any) -> Tensor:
        return on_model(demo.model, demo.encode([prompt.concept]), pack.encode_prompt(demo.clip, negative), guidance,
                        demo.shape, function, **options)

    def drawn(*given: Any, **options: Any) -> Tensor:
        return demo.decode(latents_of(*given, **options)).clamp(0, 1)

    def plain(count: int) -> Tensor:
        return latents_of(lambda denoiser, sigmas: plain_samples(denoiser, sigmas, demo.shape, count, seed),
                          **NO_GRADIENTS)

    def best() -> Tensor:
        scores = (prompt.pictures(pictures) @ prompt.embedding.T)[:, 0]
        return pictures[baselines.best_of(scores), None]

    def d4m(noise: int) -> Tensor:
        centroid = baselines.minibatch_centroids(latents).means
        return drawn(lambda denoiser, sigmas: baselines.d4m_samples(denoiser, sigmas, centroid, seed=noise),
                     baselines.D4M_GUIDANCE, arguments.d4m_negative, steps=baselines.D4M_STEPS, **NO_GRADIENTS)

    def mgd3(noise: int) -> Tensor:
        mode = baselines.kmeans_centroids(latents).means
        return drawn(lambda denoiser, sigmas: baselines.mode_guided_samples(denoiser, sigmas, mode, seed=noise),
                     baselines.MGD3_GUIDANCE, steps=baselines.MGD3_STEPS, **NO_GRADIENTS)

    def zero() -> Tensor:
        return drawn(lambda denoiser, sigmas: baselines.zero_latent_sample(denoiser, sigmas, demo.shape),
                     **NO_GRADIENTS)

    def preset(name: str, keep: int) -> Tensor:
        settings = preset_settings(name, arguments.count, seed, keep=keep)
        return drawn(lambda denoiser, sigmas: align(denoiser, sigmas, demo.shape, settings,
                                                    batch=BatchSize(32)).latents)

    def shifted() -> Tensor:
        return drawn(lambda denoiser, sigmas: shifted_average(denoiser, sigmas, demo.shape, arguments.guidance, seed,
                                                              count=arguments.count).latents, **NO_GRADIENTS)

    sampling, latents = timed(plain, arguments.count)
    decoding, pictures = timed(lambda: demo.decode(latents).clamp(0, 1))
    noise, other_noise = (NOISE_SEED + 2 * seed + number for number in range(2))
    found = {
        PLAIN: made(lambda: demo.decode(plain(1)).clamp(0, 1), lambda: pictures[1:2]),
        "medoid": made(lambda: pictures[baselines.medoid(prompt.pictures(pictures)), None]),
        BEST: made(best),
        VAE: made(lambda: demo.decode(baselines.mean_of(demo.latents_of(pictures)))),
        "pixel mean": made(lambda: baselines.mean_of(pictures)),
        ALIGNED_MEAN: made(lambda: baselines.aligned_mean(pictures).mean),
        D4M: made(lambda: d4m(noise), lambda: d4m(other_noise)),
        MGD3: made(lambda: mgd3(noise), lambda: mgd3(other_noise)),
        ZERO: made(zero),
        "preset draft": made(lambda: preset("draft", 1)),  # has no other
        STANDARD: made(lambda: preset("standard", 1), lambda: preset("standard", 2)[1:]),
        SHIFTED: made(shifted),
    }
    for run in naive_runs(prompt.concept, seed + 1):
        if (run.seed, run.count, run.guidance) == (seed, arguments.count, arguments.guidance):
            found[RECIPE] = Made(demo.decode(run.latents(demo.shape)).clamp(0, 1), run.seconds)
    return found, Samples(pictures, sampling + decoding)


def made(draw: Callable[[], Tensor], draw_another: Callable[[], Tensor] | None = None) -> Made:
    """What `draw` gives, timed, and what `draw_another` gives, if that is there."""
    seconds, picture = timed(draw)
    return Made(picture, seconds, draw_another() if draw_another else None)
