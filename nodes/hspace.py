"""HSpaceHook and CaptureHSpace: where a model's features are read, and the features themselves."""
from __future__ import annotations

import torch
from comfy_api.latest import io

from ..dma import diffusion, features as feature_files
from ..dma.alignment import starting_noise
from ..dma.batching import BatchSize
from . import comfy_model, files
from .sockets import FEATURES, HSPACE

# New names go to the end: saved graphs name a layer, and only the list's beginning is read at a glance.
LAYERS = [comfy_model.AUTO_LAYER, "middle_block",
          *(f"{path}.{index}" for path, count in [
              ("input_blocks", 12), ("output_blocks", 12),  # U-Nets
              ("joint_blocks", 38),  # Stable Diffusion 3.5 large
              ("double_blocks", 19), ("single_blocks", 48),  # Flux and Chroma; Flux 2
              ("blocks", 40),  # PixArt, HunyuanDiT
              ("double_layers", 4), ("single_layers", 32),  # AuraFlow
              ("noise_refiner", 2), ("layers", 30),  # Lumina 2, Z-Image
              ("transformer_blocks", 60),  # Qwen-Image
          ] for index in range(count))]


class HSpaceHook(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="HSpaceHook", display_name="H-Space Hook", category="dma",
            description="Chooses the layer of a model whose features stand for meaning: its semantic space.",
            search_aliases=["semantic space", "bottleneck", "mid block", "mental average"],
            inputs=[
                io.Model.Input("model",
                               tooltip="A Stable Diffusion 1.x, 2.x, SDXL (also its refiner), 3 or 3.5, Flux, Flux 2, "
                                       "Chroma, PixArt, AuraFlow, HunyuanDiT, Lumina 2, Z-Image or Qwen-Image model, "
                                       "with LoRAs or other patches if you like. It is not changed."),
                io.Combo.Input("layer", options=LAYERS, default=comfy_model.AUTO_LAYER,
                               tooltip="Where features are read. auto: a U-Net's middle block, as in the paper; the "
                                       "last block of a transformer. A layer that this model does not have is refused "
                                       "with the list of those it has."),
                io.Combo.Input("pooling", options=["none", "mean"], default="none",
                               tooltip="none: the whole feature map, layout included (the paper). mean: the average "
                                       "over space, content without layout."),
            ],
            outputs=[HSPACE.Output("hspace", display_name="hspace",
                                   tooltip="The model with its semantic layer, for AlignTrajectories and "
                                           "CaptureHSpace.")],
        )

    @classmethod
    def execute(cls, model, layer, pooling) -> io.NodeOutput:
        comfy_model.check_model(model)
        return io.NodeOutput(comfy_model.HSpace(model, comfy_model.resolve_layer(model, layer), pooling))


class CaptureHSpace(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CaptureHSpace", display_name="Capture H-Space", category="dma",
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
                io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True,
                             tooltip="Seed of the noise. All latents get the same noise, so that differences are "
                                     "theirs alone."),
                io.String.Input("save_as", default="", optional=True, advanced=True,
                                tooltip="If set, features are also written to output/<save_as>_00001_.safetensors with "
                                        "their settings in the header."),
            ],
            outputs=[FEATURES.Output("features", display_name="features",
                                     tooltip="Features on the CPU, one row per latent.")],
        )

    @classmethod
    def execute(cls, hspace, positive, latent, percent, seed, save_as="") -> io.NodeOutput:
        comfy_model.check_conditioning(positive, "positive")
        model, shape = hspace.model, comfy_model.latent_shape(hspace.model, latent)
        sampling = model.get_model_object("model_sampling")
        # At 0 percent core answers with a level beyond any schedule.
        sigma = min(float(sampling.percent_to_sigma(percent)), float(sampling.sigma_max))
        clean = comfy_model.latents_into_model(model, latent["samples"])
        parametrization = comfy_model.parametrization_of(model)
        noisy = diffusion.add_noise(parametrization, clean, starting_noise(1, shape, seed), sigma)

        def capture(denoiser) -> torch.Tensor:
            def read(rows):
                return denoiser.features(noisy[rows].to(denoiser.device), sigma)

            return torch.cat([found.cpu() for _, found in BatchSize.automatic(clean[0].numel()).over(len(noisy), read)])

        captured = comfy_model.with_denoiser(model, positive, positive, 1.0, torch.tensor([sigma, 0.0]), shape, seed,
                                             capture, hspace.layer, hspace.pooling)
        features = feature_files.Features(captured, hspace.layer, hspace.pooling, sigma)
        if save_as:
            feature_files.save(features, files.output_path(save_as, ".safetensors"))
        return io.NodeOutput(features)
