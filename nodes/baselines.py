"""Plain averages and the zero-latent sample: what a mental average has to be compared with."""
from __future__ import annotations

import comfy.samplers
import torch
from comfy_api.latest import io

from ..dma import baselines, diffusion
from ..dma.alignment import Progress, starting_noise
from ..dma.batching import BatchSize
from ..dma.sampling import sample
from . import comfy_model
from .latent_inputs import finite
from .progress import ProgressReporter
from .sockets import FEATURES


class AverageImages(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AverageImages", display_name="Average Images", category="dma/baselines",
            description="The pixel mean of a batch of pictures: blurry, and the reason for the mental average.",
            search_aliases=["mean image", "pixel mean"],
            inputs=[io.Image.Input("images", tooltip="A batch of pictures.")],
            outputs=[io.Image.Output("image", display_name="image", tooltip="Their mean.")],
        )

    @classmethod
    def execute(cls, images) -> io.NodeOutput:
        check_batch(images, "images")
        return io.NodeOutput(baselines.mean_of(images))


class AverageLatents(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AverageLatents", display_name="Average Latents", category="dma/baselines",
            description="The mean of a batch of finished latents (the paper's Avg VAE): blurry once decoded.",
            search_aliases=["mean latent", "Avg VAE"],
            inputs=[io.Latent.Input("latents", tooltip="A batch of finished latents.")],
            outputs=[io.Latent.Output("latent", display_name="latent", tooltip="Their mean, for VAE Decode.")],
        )

    @classmethod
    def execute(cls, latents) -> io.NodeOutput:
        check_batch(latents["samples"], "latents")
        averaged = {key: value for key, value in latents.items() if key not in ("batch_index", "noise_mask")}
        return io.NodeOutput({**averaged, "samples": baselines.mean_of(latents["samples"])})


class MedoidSelect(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="MedoidSelect", display_name="Medoid Select", category="dma/baselines",
            description="Picks the most central picture of a batch: the one nearest to all others by its features.",
            search_aliases=["medoid", "most typical image", "central"],
            inputs=[
                io.Image.Input("images", tooltip="A batch of pictures."),
                FEATURES.Input("features", optional=True,
                               tooltip="Their features from CaptureHSpace, in the same order. Without them pictures "
                                       "are compared pixel by pixel."),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="The most central picture."),
                io.Int.Output("index", display_name="index", tooltip="Its place in the batch, from 0."),
            ],
        )

    @classmethod
    def execute(cls, images, features=None) -> io.NodeOutput:
        check_batch(images, "images")
        if features is not None and len(features.values) != len(images):
            raise ValueError(f"There are {len(images)} pictures but features of {len(features.values)}: connect "
                             "CaptureHSpace to the latents of the same pictures.")
        index = baselines.medoid(images if features is None else features.values)
        return io.NodeOutput(images[index : index + 1], index)


class ZeroLatent(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ZeroLatent", display_name="Zero-Latent Sample", category="dma/baselines",
            description="One plain deterministic sample that starts from zero instead of noise: the cheapest rival of "
                        "the mental average.",
            search_aliases=["zero latent", "mean noise", "shrunken noise"],
            inputs=[
                io.Model.Input("model", tooltip="The model to sample."),
                io.Conditioning.Input("positive", tooltip="The concept."),
                io.Conditioning.Input("negative", tooltip="What guidance leads away from."),
                io.Latent.Input("latent_image", tooltip="Gives the size only."),
                io.Int.Input("steps", default=20, min=1, max=1000, tooltip="Sampling steps."),
                io.Float.Input("cfg", default=7.0, min=0.0, max=100.0, step=0.1, tooltip="Guidance scale."),
                io.Combo.Input("scheduler", options=comfy.samplers.KSampler.SCHEDULERS, default="ddim_uniform",
                               tooltip="Noise levels."),
                io.Float.Input("noise_scale", default=0.0, min=0.0, max=1.0, step=0.01,
                               tooltip="0 starts from zero, 1 from ordinary noise, values between from shrunken "
                                       "noise."),
                io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True,
                             tooltip="Seed of the noise; without effect at noise scale 0."),
            ],
            outputs=[io.Latent.Output("latent", display_name="latent", tooltip="The finished latent, for VAE Decode.")],
        )

    @classmethod
    def execute(cls, model, positive, negative, latent_image, steps, cfg, scheduler, noise_scale,
                seed) -> io.NodeOutput:
        comfy_model.check_conditioning(positive, "positive")
        comfy_model.check_conditioning(negative, "negative")
        shape = comfy_model.latent_shape(model, latent_image)
        sigmas = comfy_model.sigmas_of(model, scheduler, steps)
        noise = noise_scale * starting_noise(1, shape, seed)
        reporter, done = ProgressReporter(model, "ZeroLatent"), 0

        def run(denoiser) -> torch.Tensor:
            def after_batch(count: int, denoised: torch.Tensor) -> None:
                nonlocal done
                done += 1
                reporter(Progress(done / (len(sigmas) - 1), "sampling", denoised[:1]))

            start = diffusion.initial_latent(denoiser.parametrization, noise, sigmas[0].item())
            return sample(denoiser, start, sigmas, BatchSize(1), after_batch)

        latents = comfy_model.with_denoiser(model, positive, negative, cfg, sigmas, shape, seed, run, layer=None)
        return io.NodeOutput(comfy_model.latents_out_of_model(model, latents))


def check_batch(batch: torch.Tensor, name: str) -> None:
    """Raise ValueError if there is nothing in a batch, NaN, or several tensors in one."""
    if getattr(batch, "is_nested", False):
        raise ValueError(f"The input {name} is a combined latent: connect a plain batch.")
    if len(batch) == 0:
        raise ValueError(f"The input {name} is an empty batch: connect at least one.")
    finite(batch, f"The input {name}")
