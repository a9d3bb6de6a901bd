"""CaptureHSpace: the features of latents."""
from __future__ import annotations

import logging

import torch
from comfy_api.latest import io, ui

from ...dma import diffusion, models, statistics
from ...dma.hspace import Features, save_features
from ...dma.representation import reading_noise
from .. import comfyui, inputs
from ..inputs import FEATURES, HSPACE, checked


class CaptureHSpace(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CaptureHSpace", display_name="Capture H-Space", category=inputs.category(), is_output_node=True,
            description="Reads the semantic features of a batch of latents at one noise level, for MedoidSelect or for "
                        "a file.",
            search_aliases=["activations", "features", "semantic space"],
            inputs=[
                HSPACE.Input("hspace", tooltip="From HSpaceHook."),
                io.Conditioning.Input("positive", tooltip="The prompt under which features are read."),
                io.Latent.Input("latent", tooltip="Clean latents: pictures encoded by a VAE, or a sampler's result."),
                io.Float.Input("percent", default=0.5, min=0.0, max=0.999, step=0.01,
                               tooltip="The noise level, as a share of sampling: 0 is pure noise at the start, near 1 "
                                       "almost clean."),
                inputs.seed("Seed of the noise. All latents get the same noise, so that differences are theirs "
                            "alone."),
                io.String.Input("save_as", default="", optional=True, advanced=True,
                                tooltip="If set, features are also written to output/<save_as>_00001_.safetensors with "
                                        "their settings in the header."),
            ],
            outputs=[FEATURES.Output("features", display_name="features",
                                     tooltip="Features on the CPU, one row per latent.")],
        )

    @classmethod
    @checked()
    def execute(cls, hspace, positive, latent, percent, seed, save_as="") -> io.NodeOutput:
        if save_as:
            comfyui.check_prefix(save_as, save_as, "features/concept")
        comfyui.check_conditioning(positive, "positive")
        model, shape = hspace.model, comfyui.latent_shape(hspace.model, latent)
        sampling = comfyui.noise_law(model)
        # At 0 percent core answers with a level beyond any schedule.
        sigma = min(float(sampling.percent_to_sigma(percent)), float(sampling.sigma_max))
        clean = comfyui.latents_into_model(model, comfyui.samples_of(model, latent))
        parametrization = comfyui.parametrization_of(model)
        noisy = diffusion.add_noise(parametrization, clean, reading_noise(1, shape, seed), sigma)
        check_seen(clean, noisy, percent)

        def capture(denoiser) -> torch.Tensor:
            return torch.cat([found.cpu() for _, found in models.read_features(denoiser, noisy, sigma)])

        captured = comfyui.with_denoiser(model, positive, positive, 1.0, torch.tensor([sigma, 0.0]), shape, seed,
                                         capture, hspace.layer, hspace.pooling, latents=len(clean), gradients=False)
        features = Features(captured, hspace.layer, hspace.pooling, sigma)
        return io.NodeOutput(features, ui=ui.PreviewText(written(features, save_as)) if save_as else None)


def check_seen(clean: torch.Tensor, noisy: torch.Tensor, percent: float) -> None:
    """Raise ValueError where latents (N, C, H, W) that differ are the same behind their noise: a flow begins with noise
    alone, 0 times the latent."""
    if any(not torch.equal(latent, clean[0]) for latent in clean[1:]):
        statistics.check_different(noisy, "latents with their noise",
                                   f"at percent {percent:g} this model is shown noise alone, and nothing of the "
                                   "latents, so raise percent")


def written(features: Features, save_as: str) -> str:
    """Write features to a file of this prefix, and say so. They may have taken long to read, so that a file which
    cannot be written is no more than a warning."""
    try:
        with comfyui.explaining_what_cannot_be_written(save_as):
            path = comfyui.output_path(save_as, ".safetensors")
            save_features(features, path)
    except ValueError as error:
        logging.warning("CaptureHSpace: the features go on without a file. %s", error)
        return f"Not saved: {error}"
    return f"Saved {comfyui.output_name(path)}"
