"""CaptureHSpace: the features of latents."""
from __future__ import annotations

import torch
from comfy_api.latest import io, ui

from ...dma import diffusion, models
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
        comfyui.check_conditioning(positive, "positive")
        model, shape = hspace.model, comfyui.latent_shape(hspace.model, latent)
        sampling = model.get_model_object("model_sampling")
        # At 0 percent core answers with a level beyond any schedule.
        sigma = min(float(sampling.percent_to_sigma(percent)), float(sampling.sigma_max))
        clean = comfyui.latents_into_model(model, comfyui.samples_of(model, latent))
        parametrization = comfyui.parametrization_of(model)
        noisy = diffusion.add_noise(parametrization, clean, reading_noise(1, shape, seed), sigma)

        def capture(denoiser) -> torch.Tensor:
            return torch.cat([found.cpu() for _, found in models.read_features(denoiser, noisy, sigma)])

        captured = comfyui.with_denoiser(model, positive, positive, 1.0, torch.tensor([sigma, 0.0]), shape, seed,
                                             capture, hspace.layer, hspace.pooling, latents=len(clean))
        features = Features(captured, hspace.layer, hspace.pooling, sigma)
        if not save_as:
            return io.NodeOutput(features)
        with comfyui.explaining_what_cannot_be_written(save_as):
            path = comfyui.output_path(save_as, ".safetensors")
            save_features(features, path)
        return io.NodeOutput(features, ui=ui.PreviewText(f"Saved {comfyui.output_name(path)}"))
