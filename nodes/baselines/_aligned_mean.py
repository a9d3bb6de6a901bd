"""AlignedMean: the pixel mean of pictures that are warped onto each other first."""
from __future__ import annotations

from dataclasses import asdict

import torch
from comfy_api.latest import io

from ...dma import baselines, execution, metrics
from ...dma.baselines import CONGEALING_ALGORITHM, CongealingState
from ...dma.execution import PassMonitor
from .. import comfyui
from ..inputs import category, check_batch, checked, on_white, resume

STANDARD = baselines.CongealingSettings()


class AlignedMean(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AlignedMean", display_name="Aligned Pixel Mean", category=category("baselines"),
            description="The pixel mean of pictures that are first scaled, turned, shifted and gently bent onto each "
                        "other: a stand-in for GANgealing, the paper's rival, without a GAN.",
            search_aliases=["congealing", "GANgealing", "mean image", "registration", "baseline"],
            inputs=[
                io.Image.Input("images", tooltip="A batch of pictures of one thing, such as samples of a prompt."),
                io.Int.Input("similarity_rounds", default=STANDARD.similarity_rounds, min=0, max=100, optional=True,
                             advanced=True,
                             tooltip="How often every picture is scaled, turned and shifted towards the mean of all "
                                     "others."),
                io.Int.Input("flow_rounds", default=STANDARD.flow_rounds, min=0, max=100, optional=True, advanced=True,
                             tooltip="How often it is then bent as well. 0: only scaled, turned and shifted."),
                io.Float.Input("smoothness", default=STANDARD.smoothness, min=0.0, max=1000.0, step=0.05, round=False,
                               optional=True, advanced=True,
                               tooltip="How stiff pictures are. Below 0.1 they are bent until they all look alike."),
                io.Float.Input("trim", default=STANDARD.trim, min=0.0, max=0.49, step=0.01, round=False, optional=True,
                               advanced=True,
                               tooltip="Share of the values that is left out at each end where the mean is taken, so "
                                       "that strays do not count: 0 is the plain mean, 0.49 nearly the median."),
                resume(),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="The mean of the aligned pictures."),
                io.Image.Output("aligned", display_name="aligned", tooltip="The pictures as they were warped."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, images, similarity_rounds=STANDARD.similarity_rounds, flow_rounds=STANDARD.flow_rounds,
                smoothness=STANDARD.smoothness, trim=STANDARD.trim, resume=True) -> io.NodeOutput:
        check_batch(images, "images")
        settings = baselines.CongealingSettings(similarity_rounds=similarity_rounds, flow_rounds=flow_rounds,
                                                smoothness=smoothness, trim=trim)
        settings.check()
        pictures = on_white(images)
        with torch.inference_mode(False):  # gradients lead the warps
            saved = comfyui.saved_without_model(key_of(pictures, settings)) if resume else None
            state = comfyui.resumed("AlignedMean", CongealingState.unpacked, saved) or CongealingState()
            behind = state.rounds + (state.done == len(images))  # an interrupt may come before a round is closed
            monitor = PassMonitor(comfyui.progress_bar(), "aligning", settings.passes(len(images)) - behind)
            found = baselines.aligned_mean(pictures, settings, watchers=[*comfyui.checkpoints(saved), monitor],
                                           state=state)
        return io.NodeOutput(found.mean, found.aligned)


def key_of(pictures: torch.Tensor, settings: baselines.CongealingSettings) -> str:
    """The key of a run. What is left out at the ends where the mean is taken comes after the warps."""
    warps = {name: value for name, value in asdict(settings).items() if name != "trim"}
    return execution.run_key({**warps, "algorithm": CONGEALING_ALGORITHM, "images": metrics.pictures_key(pictures)}, {})
