"""ConceptSheet: averages of words by checkpoints, or by the LoRAs of a training, as one node that unfolds into a graph
with a node for each cell."""
from __future__ import annotations

import json
from collections import Counter
from typing import Any

from comfy_api.latest import io
from comfy_execution.graph_utils import GraphBuilder

from ...dma import figures, mean_shift, metrics
from .. import comfyui, inputs
from ..comfyui import CHECKPOINTS, LORAS
from ..inputs import IMAGE_ENCODER, TABLE, checked
from ._attributes import NONE, PROMPTS, QUESTION, check_attributes
from ._columns import Column, columns_of
from ._concept_cell import empty_latent, stamps_of
from ._drawn_sheet import cell_name
from ._failures import failures

MOST_WORDS, MOST_CELLS = 100, 1000
PLACE = "{}"  # of the word in the template
FEWEST = metrics.FEWEST_SAMPLES  # whose spread has an error
STANDARD = mean_shift.MeanShiftSettings()


class ConceptSheet(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        columns = [
            io.DynamicCombo.Option(CHECKPOINTS, [
                io.String.Input("names", multiline=True, default="",
                                tooltip="Checkpoints, one a line: names as in Load Checkpoint, or patterns such as "
                                        "sdxl/*, whose files come in natural order. Each needs a text encoder and a "
                                        "VAE of its own."),
            ]),
            io.DynamicCombo.Option(LORAS, [
                io.Model.Input("model", tooltip="The model that the LoRAs belong to."),
                io.Clip.Input("clip", tooltip="Its text encoder."),
                io.Vae.Input("vae", tooltip="Its VAE."),
                io.String.Input("folder", default="",
                                tooltip="A folder of ComfyUI's LoRAs, in models/loras or output/loras, with those "
                                        "inside it. Empty: all."),
                io.String.Input("files", multiline=True, default="*",
                                tooltip="Which of them, one a line: names, or patterns such as *-0000?0*. Files of a "
                                        "pattern come in natural order, epoch 2 before epoch 10."),
                io.Float.Input("strength", default=1.0, min=-100.0, max=100.0, step=0.01,
                               tooltip="Strength of each LoRA."),
                io.Boolean.Input("without", default=True,
                                 tooltip="Begin with a column of the model as it is, to see the way from there."),
            ]),
        ]
        attributes = [
            io.DynamicCombo.Option(NONE, []),
            io.DynamicCombo.Option(PROMPTS, [
                io.String.Input("prompts", multiline=True, default="light skin\ndark skin",
                                tooltip="One prompt per line, at least two: each sample counts for its best. Needs a "
                                        "CLIP or SigLIP encoder."),
            ]),
            io.DynamicCombo.Option(QUESTION, [
                io.String.Input("question", default="what is the skin tone?",
                                tooltip="Asked of each sample. Needs a BLIP-VQA encoder."),
            ]),
        ]
        return io.Schema(
            node_id="ConceptSheet", display_name="Concept Sheet", category=inputs.category(), enable_expand=True,
            description="Draws the average of each word by each checkpoint, or by each LoRA of a training, from the "
                        "same noise, with what its samples show, how far they scatter, and what changes from column to "
                        "column.",
            search_aliases=["XY plot", "compare checkpoints", "compare loras", "epochs", "bias", "grid", "model probe"],
            inputs=[
                io.String.Input("words", multiline=True, default="",
                                tooltip="One word or prompt a line, at most 100: the rows of the sheet."),
                io.String.Input("template", default=PLACE,
                                tooltip="The prompt around each word, which stands where {} is: a photo of a {}."),
                io.String.Input("negative_prompt", multiline=True, default="",
                                tooltip="What guidance leads away from; may be empty."),
                io.DynamicCombo.Input("columns", options=columns,
                                      tooltip="checkpoints: files that bring text encoder and VAE along, loaded one "
                                              "after another. loras: the LoRAs of a folder on one model, such as the "
                                              "epochs of a training."),
                io.Int.Input("width", default=512, min=16, max=16384, step=8,
                             tooltip="Width of the averages in pixels: the models' own resolution."),
                io.Int.Input("height", default=512, min=16, max=16384, step=8, tooltip="Height of the averages."),
                io.Int.Input("count", default=STANDARD.count, min=1, max=100000,
                             tooltip="K: how many noises each average is taken over, as in MentalAverage."),
                io.Int.Input("samples", default=16, min=0, max=1024,
                             tooltip="Plain samples of each cell, which shares, spread and drift are of. 3 or more; 0: "
                                     "averages alone. Intervals narrow with the square root."),
                inputs.steps(),
                io.Float.Input("cfg", default=7.0, min=0.0, max=100.0, step=0.1, tooltip="Guidance scale."),
                inputs.scheduler("Noise levels. Sampling is deterministic (ddim)."),
                inputs.seed("Seed of all noise, the same for every cell: what differs is the word or the model."),
                io.DynamicCombo.Input("attributes", options=attributes,
                                      tooltip="What is looked for in the samples: the best of some prompts, the answer "
                                              "to a question, or nothing."),
                io.Int.Input("cell", default=192, min=figures.LEAST_CELL, max=1024, step=8,
                             tooltip="Height of a picture on the sheet. Where there are many columns they are made "
                                     "smaller, to 128 pixels at least; then the sheet goes on on further pages."),
                IMAGE_ENCODER.Input("image_encoder", optional=True,
                                    tooltip="From LoadImageEncoder: looks for the attributes, and compares samples. "
                                            "Without it pictures are compared pixel by pixel, at 32 x 32 pixels."),
                io.Int.Input("averaged_steps", default=STANDARD.averaged_steps, min=1, max=1000, optional=True,
                             advanced=True, tooltip="As in MentalAverage."),
                inputs.batch_size(),
                inputs.resume(),
            ],
            outputs=[
                io.Image.Output("sheet", display_name="sheet",
                                tooltip="A row for each word and a column for each model; several pages if it is "
                                        "large."),
                io.Image.Output("averages", display_name="averages",
                                tooltip="The averages alone, word by word, grey where a cell failed; made smaller "
                                        "where together they have more than 67 million pixels."),
                TABLE.Output("table", display_name="table",
                             tooltip="Shares, changes, spread, drift and flags of every cell, with their intervals, "
                                     "for SaveTable (JSON and CSV)."),
            ],
            hidden=[io.Hidden.dynprompt, io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, words=None, template=None, *, columns=None, attributes=None) -> bool | str:
        # ComfyUI hands over dynamic inputs, without their values, whether asked for or not, and None for what is
        # linked.
        try:
            if words is not None:
                words_of(words, template if template is not None else PLACE)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, words="", template="", negative_prompt="", columns=None, **others) -> Any:
        """The files that are there now, and how many cells have failed: those are tried again."""
        try:
            files = [stamps_of(each.checkpoint, each.lora) for each in columns_of(columns)]
        except (ValueError, TypeError, KeyError, AttributeError) as error:  # what comes over a link is not known yet
            return [str(error), float("nan")]
        # A name may begin in the template and end in a word.
        named = comfyui.embedding_stamps(negative_prompt, *((template or PLACE).replace(PLACE, word.strip())
                                                                  for word in (words or "").splitlines()))
        return [json.dumps([*files, named]), failures()]

    @classmethod
    @checked()
    def execute(cls, words, template, negative_prompt, columns, width, height, count, samples, steps, cfg, scheduler,
                seed, attributes, cell, image_encoder=None, averaged_steps=STANDARD.averaged_steps, batch_size=0,
                resume=True) -> io.NodeOutput:
        rows, what = words_of(words, template), attributes["attributes"]
        looked_for = attributes.get({PROMPTS: "prompts", QUESTION: "question"}.get(what, ""), "")
        check(samples, what, looked_for, image_encoder)
        mean_shift.MeanShiftSettings(count, averaged_steps).check(steps)
        found = columns_of(columns)
        if len(rows) * len(found) > MOST_CELLS:
            raise ValueError(f"The sheet would have {len(rows)} x {len(found)} cells, but at most {MOST_CELLS} are "
                             "drawn at once: divide the words, or choose fewer columns.")
        check_subjects(rows, found)
        if columns["columns"] == LORAS:
            check_model(columns, width, height)
        settings = {"width": width, "height": height, "count": count, "samples": samples, "steps": steps, "cfg": cfg,
                    "scheduler": scheduler, "seed": seed, "averaged_steps": averaged_steps,
                    "negative_prompt": negative_prompt, "attributes": what, "attribute_text": looked_for}
        links = cls.hidden.dynprompt.get_node(cls.hidden.unique_id)["inputs"]
        graph, outputs = unfolded(rows, template, found, columns.get("strength", 1.0), links, cell, {
            **settings, "batch_size": batch_size, "resume": resume, "call": comfyui.number_of_call()}, {
            **settings, "template": template, "columns": [each.checkpoint or each.lora or each.label for each in found],
            "encoder": inputs.check_one_encoder(None, image_encoder) or "32 x 32 pixels"})
        return io.NodeOutput(*outputs, expand=graph.finalize())


def words_of(text: str, template: str) -> list[str]:
    """The rows of a sheet. Raises ValueError for none, too many, one that is there twice, and a template without a
    place for them."""
    found = inputs.filled_lines(text)
    if not found:
        raise ValueError("words is empty: write at least one word, one a line.")
    if len(found) > MOST_WORDS:
        raise ValueError(f"words has {len(found)} lines, but at most {MOST_WORDS} are drawn at once: divide them.")
    twice = next((word for word in found if found.count(word) > 1), None)
    if twice is not None:
        raise ValueError(f"words has {twice!r} more than once: leave one out.")
    if PLACE not in template:
        raise ValueError(f"The template {template!r} has no {PLACE} where a word could stand: write, for example, 'a "
                         "photo of a {}'.")
    return found


def check(samples: int, what: str, looked_for: str, image_encoder: Any) -> None:
    """Raise ValueError for samples that are too few for what is asked of them, and attributes without an encoder."""
    if 0 < samples < FEWEST:
        raise ValueError(f"samples is {samples}: how far samples scatter takes {FEWEST} or more; choose 0 for averages "
                         "alone.")
    if what != NONE and not samples:
        raise ValueError("samples is 0, but attributes are looked for in samples: choose 3 or more (16 is a good "
                         "start), or attributes none.")
    inputs.check_one_encoder(None, image_encoder)
    check_attributes(what, looked_for, image_encoder)


def check_subjects(words: list[str], columns: list[Column]) -> None:
    """Raise ValueError where two cells would have one name in the table."""
    names = Counter(metrics.subject_of(word, column.label) for word in words for column in columns)
    name, times = names.most_common(1)[0]
    if times > 1:
        raise ValueError(f"{times} cells would be called {name!r} in the table: write the word, or the name of the "
                         "file, without the comma.")


def check_model(choice: dict[str, Any], width: int, height: int) -> None:
    """Raise ValueError unless the model of a sheet of LoRAs can draw."""
    if choice["clip"] is None:
        raise ValueError("The checkpoint behind columns.clip has no text encoder: connect one from Load CLIP.")
    comfyui.check_vae(choice["vae"], choice["model"])
    comfyui.check_model(choice["model"])
    comfyui.latent_shape(choice["model"], empty_latent(choice["model"], width, height))


def unfolded(words: list[str], template: str, columns: list[Column], strength: float, links: dict[str, Any], cell: int,
             each: dict[str, Any], settings: dict[str, Any]) -> tuple[GraphBuilder, list[list]]:
    """The graph with a node for each cell, and links to its outputs.

    A cell hangs on nothing but its own word and column, so that ComfyUI finds it again when others come and go. Cells
    are handed to the end in reverse: ComfyUI runs the last first, so those of one column run one after another.
    """
    graph = GraphBuilder()
    models = graph.node("ConceptSheetModels", "models").out(0)
    if "image_encoder" in links:
        each = {**each, "image_encoder": links["image_encoder"]}
    cells = {}
    for number, column in enumerate(columns):
        shared = ({"models": models} if column.checkpoint else
                  {name: links[f"columns.{name}"] for name in ("model", "clip", "vae")})
        for row, word in enumerate(words):
            name = cell_name(row, number)
            cells[name] = graph.node("ConceptSheetCell", name, checkpoint=column.checkpoint, lora=column.lora,
                                     strength=strength if column.lora else 1.0, prompt=template.replace(PLACE, word),
                                     **shared, **each).out(0)
    attributes = inputs.filled_lines(each["attribute_text"]) if each["attributes"] == PROMPTS else []
    drawn = graph.node("ConceptSheetDrawn", "sheet", words="\n".join(words),
                       columns="\n".join(column.label for column in columns), attributes="\n".join(attributes),
                       title="" if template == PLACE else template, cell=cell, settings=json.dumps(settings),
                       models=models, **dict(reversed(cells.items())))
    return graph, [drawn.out(0), drawn.out(1), drawn.out(2)]
