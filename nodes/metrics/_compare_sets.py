"""CompareSets: what a set of pictures is worth beside a reference."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...dma import encoders, figures, metrics
from .. import comfyui, inputs
from ..inputs import IMAGE_ENCODER, TABLE, check_batch, checked

REFERENCE = metrics.REFERENCE


class CompareSets(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="CompareSets", display_name="Compare Sets", category=inputs.category(),
            description="Measures a set of pictures beside a reference: consistency, representativeness, the distances "
                        "of distributions, sharpness, and more, each with its interval.",
            search_aliases=["metrics", "FID", "KID", "CMMD", "CLIP score", "PSNR", "consistency", "representativeness"],
            inputs=[
                io.Image.Input("images", tooltip="The pictures to be measured: averages of one concept, the samples of "
                                                 "a method, what a round trip gave back."),
                io.Image.Input("reference", tooltip="What they are compared with: plain samples of the same prompt, "
                                                    "the originals, the pictures of a class. Two or more."),
                io.String.Input("name", default="images", tooltip="What the pictures are called in the table."),
                io.String.Input("prompt", multiline=True, default="",
                                tooltip="Measures how well the pictures fit it (CLIP-T). Needs a CLIP or SigLIP as "
                                        "image_encoder; may be empty."),
                io.Int.Input("ensemble_size", default=1, min=1, max=10000,
                             tooltip="How many pictures, one after another, come from one ensemble (one run). "
                                     "Consistency is then measured between ensembles and within them, and every "
                                     "interval is over ensembles."),
                io.Boolean.Input("paired", default=False,
                                 tooltip="Picture i of images belongs to picture i of the reference, as after a round "
                                         "trip: adds the PSNR."),
                io.Int.Input("subset_size", default=0, min=0, max=100000,
                             tooltip="0, or no set has more pictures: the kernel distance of all at once, with an "
                                     "interval. Else the mean over 100 random subsets of this size, as papers report "
                                     "KID."),
                io.ClipVision.Input("clip_vision", optional=True,
                                    tooltip="Compare pictures by ComfyUI's CLIP Vision. Without it and without "
                                            "image_encoder only sharpness, brightness and errors are measured."),
                IMAGE_ENCODER.Input("image_encoder", optional=True,
                                    tooltip="Compare pictures by an encoder from LoadImageEncoder."),
                io.Latent.Input("latents", optional=True,
                                tooltip="Latents that a round trip came back with: adds their relative error. With "
                                        "reference_latents."),
                io.Latent.Input("reference_latents", optional=True, tooltip="The latents that it set out from."),
            ],
            outputs=[
                TABLE.Output("table", display_name="table", tooltip="The numbers, for SaveTable."),
                io.Image.Output("picture", display_name="picture", tooltip="The table as a picture."),
                io.String.Output("csv", display_name="csv", tooltip="The table as comma-separated values."),
                io.String.Output("json", display_name="json", tooltip="The table and its settings as JSON."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, images, reference, name, prompt, ensemble_size, paired, subset_size, clip_vision=None,
                image_encoder=None, latents=None, reference_latents=None) -> io.NodeOutput:
        subject, text = name.strip() or "images", prompt.strip()
        source = inputs.encoder_name(clip_vision, image_encoder)
        check_sets(images, reference, ensemble_size, paired)
        if subset_size == 1:
            raise ValueError("subset_size is 1, but a distance is known from subsets of 2 or more: choose 0 for all "
                             "pictures at once, or 2 or more.")
        if subject == REFERENCE:
            raise ValueError(f"name is {REFERENCE!r}, which is what the other set is called: choose another one.")
        pair = paired_latents(latents, reference_latents)
        if pair:
            check_divisible(pair[0], "latents", ensemble_size)
        words = inputs.prompt_embedding(image_encoder, text) if text else None
        round_trip = metrics.round_trip_measures(subject, (images[..., :3], reference[..., :3]) if paired else None,
                                                 pair, ensemble_size=ensemble_size)
        rows = metrics.compare_looks(subject, images, reference, ensemble_size=ensemble_size)
        if source:
            rows += by_features(subject, (images, reference), (clip_vision, image_encoder), words, ensemble_size,
                                subset_size)
        rows = with_copies(rows + round_trip, images, reference, of_pairs=round_trip)
        table = metrics.MeasureTable(
            {"encoder": source or None, "images": len(images), "reference": len(reference), "prompt": text,
             "ensemble_size": ensemble_size, "subset_size": subset_size, "images_key": metrics.pictures_key(images),
             "reference_key": metrics.pictures_key(reference)}, rows)
        return io.NodeOutput(table, figures.plot_measures(table), table.to_csv(), table.to_json())


def by_features(subject: str, sets: tuple[Tensor, Tensor], encoder: tuple[Any, Any], words: Tensor | None,
                ensemble_size: int, subset_size: int) -> list[metrics.Measure]:
    """What an encoder says of both sets, with the fit to a prompt of which it gave the embedding."""
    features, others = (inputs.picture_embeddings(pictures, *encoder) for pictures in sets)
    try:
        rows = metrics.compare_features(subject, features, others, ensemble_size=ensemble_size,
                                        subset_size=subset_size, own=metrics.own_pictures(*sets))
    except ValueError as error:
        raise ValueError(f"The pictures cannot be compared. {error} Look at the pictures, and connect an encoder that "
                         "sees a difference between them.") from None
    rows.append(metrics.diversity(REFERENCE, others))
    if words is not None:
        rows += [metrics.prompt_measure(subject, features, words, ensemble_size=ensemble_size),
                 metrics.prompt_measure(REFERENCE, others, words)]
    return rows


def with_copies(rows: list[metrics.Measure], images: Tensor, reference: Tensor,
                of_pairs: list[metrics.Measure]) -> list[metrics.Measure]:
    """Rows whose notes say, where there is an interval, how many pictures of the sets that it is of are there more than
    once: intervals take every picture for one of its own. Those `of_pairs` are of both sets."""
    copies = {name: len(pictures) - len(inputs.different_rows(pictures))
              for name, pictures in (("images", images), (REFERENCE, reference))}

    def told(row: metrics.Measure) -> metrics.Measure:
        of_reference = REFERENCE == row.subject or metrics.is_beside_a_reference(row) or row in of_pairs
        of_images = row.subject != REFERENCE
        names = [name for name, is_of in (("images", of_images), (REFERENCE, of_reference)) if is_of and copies[name]]
        if row.low is None or not names:
            return row
        note = ("the interval is too narrow, since pictures are there more than once "
                f"({' and '.join(f'{copies[name]} of {name}' for name in names)} are copies)")
        return replace(row, note="; ".join(filter(None, (row.note, note))))

    return [told(row) for row in rows]


def check_sets(images: Tensor, reference: Tensor, ensemble_size: int, paired: bool) -> None:
    """Raise ValueError unless both are pictures that can be measured so."""
    for pictures, name in ((images, "images"), (reference, REFERENCE)):
        check_batch(pictures, name)
        encoders.check_images(pictures)
        metrics.check_range(pictures[..., :3], f"The pictures of {name}")
    if len(reference) < 2:
        raise ValueError("reference holds one picture, of which nothing can be known but how far it is: connect a "
                         "batch of two or more.")
    check_divisible(images, "images", ensemble_size)
    if paired and images.shape[:3] != reference.shape[:3]:
        raise ValueError(f"paired needs as many pictures of the same size in both sets, but images are "
                         f"{described(images)}, and reference {described(reference)}: connect what went into the round "
                         "trip as reference, or turn paired off.")


def check_divisible(rows: Tensor, name: str, ensemble_size: int) -> None:
    """Raise ValueError unless the rows of an input can be divided into ensembles of this size."""
    try:
        metrics.check_ensembles(len(rows), ensemble_size)
    except ValueError as error:
        raise ValueError(f"{error} Set ensemble_size to how many pictures of {name} come from one run.") from None


def described(pictures: Tensor) -> str:
    return f"{len(pictures)} of {pictures.shape[2]} x {pictures.shape[1]}"


def paired_latents(latents: dict | None, reference: dict | None) -> tuple[Tensor, Tensor] | None:
    """The samples of both LATENTs, or None without them. Raises ValueError for one alone and for two that do not fit.
    """
    if latents is None and reference is None:
        return None
    if latents is None or reference is None:
        raise ValueError("latents and reference_latents are measured against each other, but one is not connected: "
                         "connect both or none.")
    found, expected = (comfyui.finite(comfyui.image_latents(each, f"The input {name}"), f"The input {name}").cpu()
                       for each, name in ((latents, "latents"), (reference, "reference_latents")))
    try:
        metrics.latent_error(found, expected)
    except ValueError as error:
        raise ValueError(f"latents and reference_latents do not fit. {error} Connect the latents that went into the "
                         "round trip as reference_latents.") from None
    return found, expected
