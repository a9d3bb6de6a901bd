"""ChannelMeans: what a network represents of pictures."""
from __future__ import annotations

from comfy_api.latest import io

from ...dma.representation import Reading
from .. import comfyui, inputs
from ..inputs import LAYERS, REPRESENTATION, checked


class ChannelMeans(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ChannelMeans", display_name="Channel Means", category=inputs.category("representation"),
            description="Reads what a model represents of pictures: the mean of each channel of a layer, over space "
                        "and over draws of noise.",
            search_aliases=["representation", "features", "activations", "phi", "embedding", "h-space"],
            inputs=[
                io.Model.Input("model", tooltip="Any model that H-Space Hook takes. It is not changed."),
                inputs.reading_prompt(),
                io.Latent.Input("latents", tooltip="Clean latents: pictures encoded by the model's VAE, or a sampler's "
                                                   "result."),
                inputs.levels_to_read("0.8"),
                inputs.draws(8),
                io.Combo.Input("layer", options=LAYERS, default=comfyui.AUTO_LAYER,
                               tooltip="Where features are read, as in H-Space Hook. auto: a U-Net's middle block, as "
                                       "in the paper; the last block of a transformer."),
                inputs.pooling("mean: the average over space, content without layout (the paper). 2x2 to 16x16: "
                               "averages over so many cells, rough layout. none: the whole feature map.",
                               default="mean"),
                inputs.seed("Seed of the noise. All latents get the same draws, so that differences are theirs "
                            "alone. They are not those that a KSampler of this seed starts from."),
                inputs.batch_size(),
                inputs.resume(),
            ],
            outputs=[REPRESENTATION.Output("representation", display_name="representation",
                                           tooltip="A row for each latent, for CLIPGMMClusters and "
                                                   "SaveRepresentation.")],
        )

    @classmethod
    @checked(elsewhere=("layer",))  # the model may have layers that are not in the list
    def execute(cls, model, positive, latents, levels, draws, layer, pooling, seed, batch_size=0,
                resume=True) -> io.NodeOutput:
        layer = comfyui.resolve_layer(model, layer)
        found = inputs.represented(model, positive, latents, inputs.noise_levels(model, levels), [layer],
                                   Reading(draws, seed, pooling), batch_size=batch_size, resume=resume)
        return io.NodeOutput(found[layer])
