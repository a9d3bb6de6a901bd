"""ZeroLatent: the cheapest rival of the mental average."""
from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ...dma import baselines, execution
from .. import comfyui, inputs
from ..comfyui import ProgressReporter
from ..inputs import checked


class ZeroLatent(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ZeroLatent", display_name="Zero-Latent Sample", category=inputs.category("baselines"),
            description="One plain deterministic sample that starts from zero instead of noise: the cheapest rival of "
                        "the mental average.",
            search_aliases=["zero latent", "mean noise", "shrunken noise"],
            inputs=[
                io.Model.Input("model", tooltip="The model to sample."),
                io.Conditioning.Input("positive", tooltip="The concept."),
                io.Conditioning.Input("negative", tooltip="What guidance leads away from."),
                io.Latent.Input("latent_image", tooltip="Gives the size only."),
                inputs.steps(),
                io.Float.Input("cfg", default=7.0, min=0.0, max=100.0, step=0.1, tooltip="Guidance scale."),
                inputs.scheduler("Noise levels."),
                io.Float.Input("noise_scale", default=0.0, min=0.0, max=1.0, step=0.01,
                               tooltip="0 starts from zero, 1 from ordinary noise, values between from shrunken "
                                       "noise."),
                inputs.seed("Seed of the noise; without effect at noise scale 0."),
            ],
            outputs=[io.Latent.Output("latent", display_name="latent", tooltip="The finished latent, for VAE Decode.")],
        )

    @classmethod
    @checked()
    def execute(cls, model, positive, negative, latent_image, steps, cfg, scheduler, noise_scale,
                seed) -> io.NodeOutput:
        comfyui.check_conditioning(positive, "positive")
        comfyui.check_conditioning(negative, "negative")
        shape = comfyui.drawn_shape(model, latent_image, "ZeroLatent")
        sigmas = comfyui.sigmas_of(model, scheduler, steps)
        monitor = execution.PassMonitor(ProgressReporter(model, "ZeroLatent"), "sampling", len(sigmas) - 1)

        def run(denoiser) -> Tensor:
            return baselines.zero_latent_sample(denoiser, sigmas, shape, noise_scale=noise_scale, seed=seed,
                                                watchers=[monitor])

        latents = comfyui.with_denoiser(model, positive, negative, cfg, sigmas, shape, seed, run, layer=None,
                                        draws_in_turn=True, gradients=False)
        return io.NodeOutput(comfyui.latents_out_of_model(model, latents))
