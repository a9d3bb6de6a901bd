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
}
