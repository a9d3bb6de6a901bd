"""DDIMSample: the way back from an inversion."""
from __future__ import annotations

import logging

from comfy_api.latest import io
from torch import Tensor

from ...dma import inversion
from .. import comfyui, inputs
from ..comfyui import ProgressReporter
from ..inputs import TRAJECTORY, checked, schedule
from ._ddim_invert import GENERATOR_SEED
from ._source_trajectory import SourceTrajectory


class DDIMSample(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DDIMSample", display_name="DDIM Sample", category=inputs.category("inversion"),
            description="Sampling from the noise of an inversion, as it is or averaged: the way back to a picture, or "
                        "with another prompt to another one.",
            search_aliases=["reconstruct", "resample", "DDIM sampling", "inverted noise", "CycleDiffusion"],
            inputs=[
                io.Model.Input("model", tooltip="The model that the noise was inverted with."),
                io.Conditioning.Input("positive",
                                      tooltip="The prompt: the source's for its picture, another one to change it."),
                io.Conditioning.Input("negative",
                                      tooltip="What guidance leads away from. A trajectory of negative_prompt or "
                                              "null_text takes its place."),
                io.Latent.Input("latent",
                                tooltip="Noise in units of ordinary noise, from DDIMInvert, perhaps averaged or "
                                        "interpolated since. Not scaled again."),
                io.Int.Input("steps", default=50, min=1, max=1000,
                             tooltip="Sampling steps. Without effect when a trajectory or sigmas are connected."),
                inputs.scheduler("Noise levels. Without effect when a trajectory or sigmas are connected."),
                io.Float.Input("cfg", default=1.0, min=0.0, max=100.0, step=0.1,
                               tooltip="Guidance scale. That of the inversion gives the picture back."),
                TRAJECTORY.Input("trajectory", optional=True,
                                 tooltip="From DDIMInvert: its noise levels, and the way back that belongs to its "
                                         "method. Leave it out for averaged noise unless the method carries nothing "
                                         "per latent."),
                io.Sigmas.Input("sigmas", optional=True,
                                tooltip="Noise levels instead of steps and scheduler. With a trajectory they must be "
                                        "its own."),
            ],
            outputs=[io.Latent.Output("latent", display_name="latent",
                                      tooltip="The finished latents, for VAE Decode.")],
        )

    @classmethod
    @checked()
    def execute(cls, model, positive, negative, latent, steps, scheduler, cfg, trajectory=None,
                sigmas=None) -> io.NodeOutput:
        comfyui.check_model(model)
        comfyui.check_conditioning(positive, "positive")
        comfyui.check_conditioning(negative, "negative")
        # Codes that another inversion's trajectory does not carry are noise like any other.
        coded = trajectory is not None and trajectory.trajectory.companion is not None
        shape = comfyui.latent_shape(model, latent, coded)
        noise = comfyui.samples_of(model, latent, coded).float().clone()
        levels = None if trajectory is not None and sigmas is None else schedule(model, scheduler, steps, sigmas)
        companion, way = None, inversion.Ddim()
        if trajectory is not None:
            parametrization, way = comfyui.parametrization_of(model), trajectory.trajectory.method
            levels, negative, companion = follow(trajectory, parametrization, noise, cfg, levels, negative)
        monitor = inversion.InversionMonitor(ProgressReporter(model, "DDIMSample"), len(levels) - 1)

        def run(denoiser) -> Tensor:
            if trajectory is not None:
                return inversion.way_back(denoiser, noise, trajectory.trajectory, companion=companion,
                                          watchers=[monitor])
            return inversion.sample_back(denoiser, noise, levels, watchers=[monitor])

        latents = comfyui.with_denoiser(model, positive, negative, cfg, levels, shape, GENERATOR_SEED, run, layer=None,
                                        latents=len(noise), gradients=False, sampler=comfyui.name_of_way(way))
        return io.NodeOutput(comfyui.latents_out_of_model(model, comfyui.leaving(model, latents, levels[-1])))


def follow(source: SourceTrajectory, parametrization, noise: Tensor, cfg: float, levels: Tensor | None,
           negative: list) -> tuple[Tensor, list, Tensor | None]:
    """The noise levels (falling) and the negative prompt that a trajectory asks for, and what it carries for the noise.

    Raises ValueError if it was made for other latents, levels or another kind of model.
    """
    trajectory = source.trajectory
    own = comfyui.own_levels(trajectory, parametrization, levels, "connect only one of the two.")
    with comfyui.advising(comfyui.OWN_LATENTS):
        companion = inversion.companions_of(trajectory, noise)
    if trajectory.method.name == "null_text" and cfg != source.guidance_scale:
        logging.warning("DDIMSample: the trajectory was optimised for cfg %g, but cfg is %g: the pictures will differ "
                        "from their sources.", source.guidance_scale, cfg)
    return own, source.negative or negative, companion
