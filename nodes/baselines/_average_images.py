"""AverageImages and AverageLatents: plain means."""
from __future__ import annotations

from comfy_api.latest import io

from ...dma import baselines
from .. import comfyui
from ..inputs import category, check_batch, checked, on_white


class AverageImages(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AverageImages", display_name="Average Images", category=category("baselines"),
            description="The pixel mean of a batch of pictures: blurry, and the reason for the mental average.",
            search_aliases=["mean image", "pixel mean"],
            inputs=[io.Image.Input("images", tooltip="A batch of pictures.")],
            outputs=[io.Image.Output("image", display_name="image", tooltip="Their mean.")],
        )

    @classmethod
    @checked()
    def execute(cls, images) -> io.NodeOutput:
        check_batch(images, "images")
        return io.NodeOutput(baselines.mean_of(on_white(images)))


class AverageLatents(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AverageLatents", display_name="Average Latents", category=category("baselines"),
            description="The mean of a batch of finished latents (the paper's Avg VAE): blurry once decoded.",
            search_aliases=["mean latent", "Avg VAE"],
            inputs=[io.Latent.Input("latents", tooltip="A batch of finished latents.")],
            outputs=[io.Latent.Output("latent", display_name="latent", tooltip="Their mean, for VAE Decode.")],
        )

    @classmethod
    @checked()
    def execute(cls, latents) -> io.NodeOutput:
        check_batch(latents["samples"], "latents")
        comfyui.check_not_coded(latents, "latents")
        averaged = {key: value for key, value in latents.items() if key not in ("batch_index", "noise_mask")}
        return io.NodeOutput({**averaged, "samples": baselines.mean_of(latents["samples"])})
