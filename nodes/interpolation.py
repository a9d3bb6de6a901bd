"""ChannelMeanInterpolate, and MixingWeights that writes rows of weights for it."""
from __future__ import annotations

import math

import torch
from torch import Tensor
from comfy_api.latest import io

from ..dma import interpolation, mixing_weights
from ..dma.interpolation_report import interpolation_report
from .sockets import REPORT

MOST_LATENTS = 100  # as many inputs as ComfyUI lets grow; each may be a batch


class ChannelMeanInterpolate(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        latents = io.Autogrow.TemplatePrefix(io.Latent.Input("latents", tooltip="Noise of an inversion: one latent or a batch."),
                                             prefix="latents", min=1, max=MOST_LATENTS)
        return io.Schema(
            node_id="ChannelMeanInterpolate", display_name="Interpolate Latents (Channel Mean)", category="dma/interpolation",
            description="Mixes or averages the noise of inverted pictures without the degeneration that plain normalisation brings with many inputs.",
            search_aliases=["slerp", "latent average", "centroid", "morph", "interpolate latents", "mix latents", "fix/chm"],
            inputs=[
                io.Autogrow.Input("latents", template=latents,
                                  tooltip="Latents of one size, from an inversion; a new input appears as you connect. Batches are joined in the order of the inputs."),
                io.String.Input("weights", multiline=True, default="",
                                tooltip="One row of numbers per output, one number per latent, from MixingWeights or by hand. Empty: one output, all latents weighted alike."),
                io.Combo.Input("method", options=list(interpolation.METHODS), default="fix",
                               tooltip="How mixed noise gets its norm back. fix: the norm of fresh noise (the paper). nin: the inputs' mean norm. restored_variance: reproduces inputs and tends to fix. lin: not at all."),
                io.Combo.Input("mean_adjustment", options=list(interpolation.MEAN_ADJUSTMENTS), default="channel",
                               tooltip="What is mixed linearly, so that a common bias is not amplified. channel: the mean of each channel (the paper). low_pass: all coarse structure."),
                io.Float.Input("low_pass_width", default=4.0, min=0.05, max=1024.0, step=0.05, optional=True, advanced=True,
                               tooltip="Standard deviation of the low pass in latent pixels; only for low_pass. The wider, the closer to channel."),
            ],
            outputs=[
                io.Latent.Output("latent", display_name="latent", tooltip="One latent per row of weights, noise for DDIMSample."),
                REPORT.Output("report", display_name="report", tooltip="Weights, norms, amplification and channel means, for PlotReport."),
            ],
        )

    @classmethod
    def execute(cls, latents, weights, method, mean_adjustment, low_pass_width=4.0) -> io.NodeOutput:
        samples = joined_noise(latents)
        rows = mixing_weights.parse(weights, len(samples))
        width = low_pass_width if mean_adjustment == "low_pass" else math.inf
        mixture = interpolation.interpolate(samples, rows, method, mean_adjustment, width)
        return io.NodeOutput({"samples": mixture.latents}, interpolation_report(samples, mixture, method, mean_adjustment, width))


class MixingWeights(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="MixingWeights", display_name="Mixing Weights", category="dma/interpolation",
            description="Writes rows of weights for ChannelMeanInterpolate: a morph between inputs, a grid over three or four, random mixtures, or the first few of many.",
            search_aliases=["morph", "barycentric", "convex combination", "interpolation weights"],
            inputs=[
                io.Int.Input("inputs", default=4, min=1, max=1000,
                             tooltip="How many latents are mixed: as many as ChannelMeanInterpolate gets. 3 or 4 for a grid."),
                io.DynamicCombo.Input("mode", tooltip="path: from each input to the next. grid: a triangle between three inputs or a square between four. random: mixtures drawn evenly from all there are. first: averages of the first few inputs, of ever more of them.",
                    options=[
                        io.DynamicCombo.Option("path", [
                            io.Int.Input("steps", default=8, min=1, max=1000, tooltip="Rows from each input to the next; the last input is one more row."),
                            io.Boolean.Input("closed", default=False, tooltip="Go on from the last input back towards the first, for a loop."),
                        ]),
                        io.DynamicCombo.Option("grid", [
                            io.Int.Input("size", default=5, min=2, max=64, tooltip="Rows along each edge: size x size for a square, size x (size + 1) / 2 for a triangle."),
                        ]),
                        io.DynamicCombo.Option("random", [
                            io.Int.Input("rows", default=8, min=1, max=1000, tooltip="How many mixtures."),
                            io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, tooltip="Seed of the random mixtures."),
                        ]),
                        io.DynamicCombo.Option("first", [
                            io.String.Input("counts", default="2, 8, 32", tooltip="How many inputs each row averages, counted from the first."),
                        ]),
                    ]),
            ],
            outputs=[io.String.Output("weights", display_name="weights", tooltip="One row per output, for ChannelMeanInterpolate.")],
        )

    @classmethod
    def execute(cls, inputs, mode) -> io.NodeOutput:
        if mode["mode"] == "path":
            rows = mixing_weights.path(inputs, mode["steps"], mode["closed"])
        elif mode["mode"] == "grid":
            rows = mixing_weights.grid(inputs, mode["size"])
        elif mode["mode"] == "random":
            rows = mixing_weights.random(inputs, mode["rows"], mode["seed"])
        else:
            rows = mixing_weights.first(inputs, whole_numbers(mode["counts"]))
        return io.NodeOutput(mixing_weights.to_text(rows))


def whole_numbers(text: str) -> list[int]:
    """Whole numbers apart by spaces, commas or semicolons. Raises ValueError for other words."""
    try:
        return [int(word) for word in text.replace(",", " ").replace(";", " ").split()]
    except ValueError:
        raise ValueError(f"The counts {text!r} are not a row of whole numbers: write for example 2, 8, 32.") from None


def joined_noise(latents: dict[str, dict]) -> Tensor:
    """The latents (N, C, H, W) in fp32 of all connected inputs. Raises ValueError, naming the input, unless they match."""
    connected = {name: latent for name, latent in latents.items() if latent is not None}
    if not connected:
        raise ValueError("No latents are connected: connect the noise of at least one inverted picture.")
    batches = {name: image_latents(latent, name) for name, latent in connected.items()}
    (first, reference), *others = batches.items()
    for name, batch in others:
        if batch.shape[1:] != reference.shape[1:]:
            raise ValueError(f"The input {name} holds latents of {described(batch)}, but {first} of {described(reference)}: mix latents of "
                             "one model and picture size.")
    return torch.cat([batch.to("cpu", torch.float32) for batch in batches.values()])


def image_latents(latent: dict, name: str) -> Tensor:
    """The samples (N, C, H, W) of a LATENT. Raises ValueError for video and nested latents, masks, empty batches and NaN."""
    samples = latent["samples"]
    if getattr(samples, "is_nested", False) or samples.ndim != 4:
        raise ValueError(f"The input {name} is a video, audio or combined latent: connect image latents.")
    if "noise_mask" in latent:
        raise ValueError(f"The input {name} carries an inpainting mask, which has no meaning for a mixture: connect a latent without one.")
    if samples.numel() == 0:
        raise ValueError(f"The input {name} is an empty batch: connect at least one latent.")
    if not torch.isfinite(samples).all():
        raise ValueError(f"The input {name} contains NaN or infinity: look for the node that made it.")
    return samples


def described(batch: Tensor) -> str:
    """The size of latents (N, C, H, W) in words."""
    return f"{batch.shape[1]} channels and {batch.shape[3]} x {batch.shape[2]} pixels"
