"""How the templates that measure pictures lie on the page."""
from __future__ import annotations

from layout import MODEL, NOTE, OTHER, PICTURES, PREVIEW, REPORTS, WORK, Group, Layout

LAYOUTS: dict[str, Layout] = {
    "14_measures": Layout(
        note="""## What is a picture worth?

Three ways to one picture of a concept, measured beside plain samples of another seed. Press **Run**.

- **plain samples**, as they come
- **best by CLIP-T**: those that fit the prompt best. *Score Pictures* sorts them, and its sheet shows the scores.
- **averages**: mental averages of three seeds

*Compare Sets* measures each of them, and *Save Table* writes one table, as a picture, as JSON and as CSV. Every \
number has its 95 % interval.

- **consistency** (lower is better): how far two pictures of different seeds are apart. Averages should be nearly 0.
- **representativeness** (lower is better): how far the pictures are from the samples that they stand for.
- **sharpness**: a blurry mean is consistent and representative, too; here it shows.

The reference is of another seed, so that no method is compared with its own samples. `demo_clip` knows the pictures \
of the demo model and nothing else: for other models choose a CLIP of your own in *Image encoder*, and type your \
concept into all prompts.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, (("1", "2", "3", "4", "5", NOTE),)),),
            (Group("2. Samples", WORK, (("6", "7"), ("8", "9"), ("16", "17"))),
             Group("3. Averages of three seeds", OTHER, (("10", "11"), ("12", "13", "14"), ("15", "23")))),
            (Group("4. Measures", REPORTS, (("18",), ("19",), ("20",))),
             Group("5. The table", PICTURES, (("21", "22"),))),
        ),
        widths={NOTE: 440, "17": 400, "22": 760, "23": 400},
        extra_heights={NOTE: 620, "6": PREVIEW, "8": PREVIEW, "10": PREVIEW, "11": PREVIEW, "12": PREVIEW, "17": 700,
                       "22": 620, "23": 240},
    ),
    "16_concept_sheet": Layout(
        note="""## What does a model think that words mean?

The average of every word by every checkpoint, from the same noise. Press **Run**.

Below each average: how many of 32 samples *look like a woman* and *like a man* to a small CLIP, with 95 % intervals; \
how far samples scatter (**spread**); how far they have moved since the column before, in spreads (**drift**); and in \
red what looks wrong, or has changed. *Save Table* writes every number as JSON and CSV.

- **Your words**: one a line. `template` goes around each: `a photo of a {}`.
- **Your checkpoints**: names or patterns, one a line, such as `sdxl/*`. Set `width` and `height` to their own \
resolution, and load a CLIP of your own in *Image encoder*: `demo_clip` knows the pictures of the demo models and \
nothing else.
- **Your attributes**: prompts to choose between, or a question to a BLIP-VQA.
- **The epochs of a training**: choose `loras` in `columns`, connect *Load Checkpoint*, and name the folder. Template \
*08_adapter_per_mode* leaves two LoRAs of the word *woman*: with `files` at `mental_averages_mode_*` they become two \
columns beside the model without them.

One checkpoint is in memory at a time. A word that is added costs its own cells; an interrupted sheet goes on where it \
was when you press Run again; a checkpoint that fails is drawn as cells that say why.
""",
        groups=(
            (Group("1. Words, checkpoints, what to look for", WORK, (("1", "2"), (NOTE,))),),
            (Group("2. The sheet", PICTURES, (("3",),)), Group("3. The numbers", REPORTS, (("4", "5"), ("6",)))),
        ),
        widths={NOTE: 440, "2": 400, "3": 760, "5": 640, "6": 320},
        extra_heights={NOTE: 560, "2": 120, "3": 800, "5": 420, "6": 320},
    ),
}
