"""D4MPrototype and MGD3Prototype: what methods of dataset distillation make of a concept's samples."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...dma import baselines, execution
from .. import comfyui, inputs
from ..comfyui import ProgressReporter
from ..inputs import checked


def samples_of_concept() -> io.Latent.Input:
    return io.Latent.Input("latents",
                           tooltip="Latents of many pictures of the concept: finished samples of the prompt, or "
                                   "pictures encoded by the VAE of this model.")


def clusters(word: str) -> io.Int.Input:
    return io.Int.Input("clusters", default=1, min=1, max=1000, optional=True, advanced=True,
                        tooltip=f"How many {word} are sought, each of which gives a picture. One, the mean of all "
                                "latents, stands for the whole concept.")


def guidance(default: float) -> io.Float.Input:
    return io.Float.Input("cfg", default=default, min=0.0, max=100.0, step=0.1,
                          tooltip=f"Guidance scale. {default:g} is the authors' for Stable Diffusion.")


class D4MPrototype(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="D4MPrototype", display_name="D4M Prototype", category=inputs.category("baselines"),
            description="The paper's rival D4M: the k-means centroid of a concept's latents, noised and denoised with "
                        "the prompt.",
            search_aliases=["D4M", "dataset distillation", "prototype", "centroid", "baseline"],
            inputs=[
                io.Model.Input("model", tooltip="The model that denoises."),
                inputs.concept(),
                io.Conditioning.Input("negative", tooltip="What guidance leads away from. The authors write "
                                                          f"'{baselines.D4M_NEGATIVE_PROMPT}'."),
                samples_of_concept(),
                io.Float.Input("strength", default=baselines.STRENGTH, min=0.0, max=1.0, step=0.01, round=False,
                               tooltip="How far the centroid is noised, as a share of the steps. 0.7 is the authors'; "
                                       "0 gives the centroid itself."),
                io.Int.Input("steps", default=baselines.D4M_STEPS, min=1, max=1000,
                             tooltip="Sampling steps of the whole schedule, of which strength is done."),
                guidance(baselines.D4M_GUIDANCE),
                inputs.scheduler("Noise levels."),
                inputs.seed("Seed of the noise that the centroid gets: another seed, another picture."),
                clusters("centroids"),
            ],
            outputs=[
                io.Latent.Output("latent", display_name="latent",
                                 tooltip="A finished latent for each centroid, for VAE Decode; that of the most "
                                         "latents first."),
                io.Latent.Output("centroids", display_name="centroids",
                                 tooltip="The centroids themselves. One alone is what Average VAE decodes."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, model, positive, negative, latents, strength, steps, cfg, scheduler, seed,
                clusters=1) -> io.NodeOutput:
        sigmas = comfyui.sigmas_of(model, scheduler, steps)
        baselines.check_strength(strength, len(sigmas) - 1)
        done = len(sigmas) - 1 - baselines.first_step(len(sigmas) - 1, strength)

        def run(denoiser: Any, centroids: Tensor, watchers: list) -> Tensor:
            return baselines.d4m_samples(denoiser, sigmas, centroids, strength=strength, seed=seed, watchers=watchers)

        return prototypes("D4MPrototype", (model, positive, negative, cfg, sigmas), latents, clusters,
                          baselines.minibatch_centroids, max(1, done), seed, run)


class MGD3Prototype(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="MGD3Prototype", display_name="MGD3 Prototype", category=inputs.category("baselines"),
            description="The paper's rival MGD3: a sample that is drawn towards the k-means centroid of a concept's "
                        "latents in the first half of the steps.",
            search_aliases=["MGD3", "mode guidance", "dataset distillation", "prototype", "baseline"],
            inputs=[
                io.Model.Input("model", tooltip="The model that is sampled."),
                inputs.concept(),
                inputs.negative(),
                samples_of_concept(),
                io.Float.Input("mode_guidance", default=baselines.MODE_GUIDANCE, min=0.0, max=10.0, step=0.01,
                               round=False,
                               tooltip="How strongly each step is drawn to the centroid, in standard deviations of the "
                                       "step's noise. 0.1 is the authors', for 50 steps; 0 samples plainly (ddpm)."),
                io.Int.Input("steps", default=baselines.MGD3_STEPS, min=1, max=1000,
                             tooltip="Sampling steps. Each is drawn, so that more of them are drawn farther."),
                guidance(baselines.MGD3_GUIDANCE),
                inputs.scheduler("Noise levels."),
                inputs.seed("Seed of all noise."),
                clusters("modes"),
                io.Float.Input("guided_share", default=baselines.GUIDED_SHARE, min=0.0, max=1.0, step=0.01, round=False,
                               optional=True, advanced=True,
                               tooltip="Share of the steps, from the first on, that are drawn to the centroid; the "
                                       "rest is the model's own. The authors stop at half."),
            ],
            outputs=[
                io.Latent.Output("latent", display_name="latent",
                                 tooltip="A finished latent for each mode, for VAE Decode; that of the most latents "
                                         "first."),
                io.Latent.Output("modes", display_name="modes", tooltip="The centroids themselves."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, model, positive, negative, latents, mode_guidance, steps, cfg, scheduler, seed, clusters=1,
                guided_share=baselines.GUIDED_SHARE) -> io.NodeOutput:
        sigmas = comfyui.sigmas_of(model, scheduler, steps)

        def run(denoiser: Any, modes: Tensor, watchers: list) -> Tensor:
            return baselines.mode_guided_samples(denoiser, sigmas, modes, strength=mode_guidance,
                                                 guided_share=guided_share, seed=seed, watchers=watchers)

        return prototypes("MGD3Prototype", (model, positive, negative, cfg, sigmas), latents, clusters,
                          baselines.kmeans_centroids, len(sigmas) - 1, seed, run)


def prototypes(name: str, sampling: tuple, latents: dict, clusters: int,
               centroids_of: Callable[[Tensor, int], baselines.Centroids], steps: int, seed: int,
               run: Callable[[Any, Tensor, list], Tensor]) -> io.NodeOutput:
    """What `run` draws of the centroids of latents, and the centroids. Raises ValueError, in terms of the inputs,
    before the model is asked."""
    model, positive, negative, cfg, sigmas = sampling
    comfyui.check_one_prompt(positive, "positive")
    comfyui.check_one_prompt(negative, "negative")
    samples = comfyui.samples_of(model, latents)
    if not samples.any():
        raise ValueError("latents is an empty latent: connect finished samples of the prompt, or encoded pictures.")
    if clusters > len(samples):
        raise ValueError(f"clusters is {clusters}, but there are only {len(samples)} latents: lower clusters or "
                         "connect more latents.")
    # Sought in the units that the model works in, as both scripts do.
    found = centroids_of(comfyui.latents_into_model(model, samples), clusters).means
    shape = tuple(found.shape[1:])
    monitor = execution.PassMonitor(ProgressReporter(model, name), "sampling", steps)
    pictures = comfyui.with_denoiser(model, positive, negative, cfg, sigmas, shape, seed,
                                     lambda denoiser: run(denoiser, found, [monitor]), layer=None, gradients=False)
    return io.NodeOutput(comfyui.latents_out_of_model(model, pictures), comfyui.latents_out_of_model(model, found))
