"""DirectionFromPictures: the way from one set of pictures to another in what a network represents."""
from __future__ import annotations

import math
from typing import Any

from comfy_api.latest import io

from ...dma import steering
from ...dma.representation import Reading, check_alike
from ...dma.steering import BY_LEAD, Direction
from .. import comfyui, inputs
from ..inputs import DIRECTION, checked
from ._movements import check_predicted, weighted_direction

SCALE = ("What strength 1 of SteerRepresentation adds. difference: the way from the mean of the one set to that of the "
         "other. deviation: one standard deviation of the pictures of a set along this way. unit: this way over its "
         "length.")
WEIGHTING = ("How much each layer adds. lead: by how far it moves predictions of the model from the one kind of "
             "pictures to the other, which is measured with a few of them; a layer may count the other way round. "
             "equal: the direction as it was found in every layer, as in the source.")


class DirectionFromPictures(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        pictures = io.MatchType.Template("pictures", [io.Latent, io.Image])
        return io.Schema(
            node_id="DirectionFromPictures", display_name="Direction From Pictures", category=inputs.category(),
            description="Finds the direction in a model's features that leads from pictures without something to "
                        "pictures with it, and measures how well it tells them apart.",
            search_aliases=["steering vector", "concept direction", "activation steering", "slider", "h-space",
                            "attribute"],
            inputs=[
                io.Model.Input("model", tooltip="Any model that H-Space Hook takes. It is not changed."),
                io.Conditioning.Input("positive",
                                      tooltip="The prompt under which features are read: the one that will be sampled, "
                                              "or an empty one, CLIP Text Encode without text."),
                io.MatchType.Input("with_it", template=pictures,
                                   tooltip="Pictures of the kind that samples are steered to, at least two, better "
                                           "thirty or more: latents, or images with the vae. They should differ from "
                                           "the others in this one thing."),
                io.MatchType.Input("without_it", template=pictures,
                                   tooltip="Pictures of the other kind, of the same size; they need not be as many."),
                io.String.Input("layers", default="",
                                tooltip="Layers to find directions at: names or beginnings of names, such as "
                                        "middle_block, output_blocks or joint_blocks.1*. Empty: all of them; with the "
                                        "weighting equal, of a U-Net its middle block and the first half of its output "
                                        "blocks."),
                io.Float.Input("percent", default=0.6, min=0.0, max=1.0, step=0.01, round=False,
                               tooltip="The noise level at which features are read, as a share of sampling: 0 is pure "
                                       "noise at the start, 1 is clean."),
                inputs.draws(4),
                io.Combo.Input("scale", options=list(steering.SCALES), default=steering.SCALES[0], tooltip=SCALE),
                inputs.seed("Seed of the noise. All pictures get the same draws."),
                io.Vae.Input("vae", optional=True, tooltip="The VAE of the model, where images are connected."),
                inputs.batch_size(),
                inputs.resume(),
                io.Combo.Input("weighting", options=list(steering.WEIGHTINGS), default=BY_LEAD, optional=True,
                               tooltip=WEIGHTING),
            ],
            outputs=[
                DIRECTION.Output("direction", display_name="direction",
                                 tooltip="A direction for each layer, for SteerRepresentation."),
                io.String.Output("table", display_name="table",
                                 tooltip="How well each layer's direction tells pictures apart that it was not made "
                                         "of, and where it leads, as a Markdown table for Preview as Text."),
                io.Float.Output("separation", display_name="separation",
                                tooltip="The largest AUROC of a layer: 1 tells all pictures apart. 0.5 is chance for "
                                        "one layer; the largest of several is above it by chance, the more the fewer "
                                        "pictures there are."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, model, positive, with_it, without_it, layers, percent, draws, scale, seed, vae=None, batch_size=0,
                resume=True, weighting=BY_LEAD) -> io.NodeOutput:
        comfyui.check_model(model)
        comfyui.check_conditioning(positive, "positive")
        if weighting == BY_LEAD and scale != steering.SCALES[0]:
            raise ValueError(f"scale is {scale!r}, but the weighting 'lead' scales layers itself, by what the whole "
                             f"difference moves: choose the scale {steering.SCALES[0]!r}, or the weighting 'equal'.")
        chosen = layers_of(model, layers, weighting)
        given = {"with_it": with_it, "without_it": without_it}
        for name, pictures in given.items():
            check_count(inputs.count_of_pictures(model, pictures, vae, name), name)
            # Copies would be on both sides where a direction is judged on pictures that it was not made of.
            given[name] = inputs.take(pictures, rows := inputs.different_rows(pictures))
            check_count(len(rows), name, "different ")
        inputs.check_one_size(given, vae)
        sets = {name: inputs.latents_of_pictures(pictures, vae) for name, pictures in given.items()}
        inputs.check_one_size(sets, vae)
        clean = [comfyui.latents_into_model(model, comfyui.samples_of(model, latent)) for latent in sets.values()]
        way = steering.way_between(*clean) if weighting == BY_LEAD else None
        if way is not None:
            check_predicted(model, positive, tuple(way.shape), seed)
        sigmas = inputs.noise_levels(model, f"{percent}")
        found = {name: inputs.represented(model, positive, latent, sigmas, chosen, Reading(draws, seed, "mean"),
                                          batch_size=batch_size, resume=resume) for name, latent in sets.items()}
        features = {}
        for layer in chosen:
            above, below = (found[name][layer] for name in ("with_it", "without_it"))
            check_alike(above, below, comfyui.tolerance_of_model(model))
            features[layer] = above.rows(), below.rows()
        direction = steering.direction_from(features, scale=scale)
        if way is not None:
            direction = weighted_direction(model, positive, direction, clean, way, seed, batch_size, resume)
        return io.NodeOutput(direction, table_of(direction), direction.separation)


def layers_of(model: Any, text: str, weighting: str) -> list[str]:
    """The layers that a text names, or those that are steered by default."""
    names = comfyui.layer_names(model)
    if text.strip():
        return inputs.chosen_layers(names, text)
    return names if weighting == BY_LEAD else inputs.source_of_directions(names)


def check_count(count: int, name: str, kind: str = "") -> None:
    if count < steering.FEWEST_PICTURES:
        raise ValueError(f"{name} holds {count} {kind}picture{'s' * (count != 1)}, but a direction takes at least "
                         f"{steering.FEWEST_PICTURES}, better thirty or more: connect a batch.")


def table_of(direction: Direction) -> str:
    by_lead = not math.isnan(direction.lead)
    titles = ["layer", "channels", "AUROC", "d'", "length", "deviation", *(["leads", "weight"] if by_lead else [])]
    rows = [[layer, f"{len(each.vector)}", f"{each.auroc:.3f}", f"{each.d_prime:.2f}", f"{each.length:.3g}",
             f"{each.deviation:.3g}", *([f"{each.lead:+.1%}", f"{each.weight:+.2f}"] if by_lead else [])]
            for layer, each in direction.layers.items()]
    told = (f"{direction.positive} pictures with it and {direction.negative} without. AUROC and d' are those of "
            "pictures that the direction was not made of; 0.5 and 0 are chance for one layer, and the best of several "
            "is above them by chance.")
    if by_lead:
        told += (" Leads: by how much of the way between the mean pictures of the two sets predictions move when the "
                 "direction is added at this layer alone; weight: how much of it strength 1 adds, below 0 turned "
                 f"round. All together lead {direction.lead:.0%} of the way at strength 1, with a cosine of "
                 f"{direction.cosine:.2f} between it and all that they move.")
    return "\n".join([*(f"| {' | '.join(row)} |" for row in (titles, ["---"] * len(titles), *rows)), "", told])
