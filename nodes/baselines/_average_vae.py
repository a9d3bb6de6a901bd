"""AverageVAE: the mean of encoded pictures, decoded."""
from __future__ import annotations

import torch
from comfy_api.latest import io

from ...dma import baselines
from ...dma.execution import Progress
from .. import comfyui
from ..inputs import category, check_batch, checked


class AverageVAE(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AverageVAE", display_name="Average VAE", category=category("baselines"),
            description="The paper's rival Avg VAE: the mean of encoded pictures, decoded: blurry.",
            search_aliases=["Avg VAE", "mean latent", "latent average", "baseline"],
            inputs=[
                io.Image.Input("images", tooltip="A batch of pictures, such as samples of a prompt."),
                io.Vae.Input("vae", tooltip="Encodes them one by one, and decodes their mean."),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="The decoded mean."),
                io.Latent.Output("latent", display_name="latent", tooltip="The mean itself."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, images, vae) -> io.NodeOutput:
        check_batch(images, "images")
        comfyui.check_vae(vae)
        tell = comfyui.progress_bar()
        encoded = []
        for latent in comfyui.encoded_one_by_one(vae, images):
            encoded.append(latent)
            tell(Progress(len(encoded) / len(images), "encoding"))
        mean = {"samples": baselines.mean_of(torch.cat(encoded))}
        return io.NodeOutput(comfyui.decoded(vae, mean), mean)
