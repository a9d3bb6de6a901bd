"""How the templates that measure pictures lie on the page."""
from __future__ import annotations

from layout import MODEL, NOTE, PICTURES, REPORTS, WORK, Group, Layout

LAYOUTS: dict[str, Layout] = {
    "14_measure_and_rank_pictures": Layout(
        note="""## What is a picture worth?

Three ways to one picture of a concept, measured beside plain samples of another seed: plain samples, the best of them \
by CLIP-T, and mental averages of three seeds. Press **Run**.

- **consistency** (lower is better): how far two pictures of different seeds are apart
- **representativeness** (lower is better): how far they are from the samples that they stand for
- **sharpness**: a blurry mean is consistent and representative, too; here it shows.

Every number has its 95 % interval. *Save Table* writes picture, JSON and CSV.

- **Your model**: choose its checkpoint, its own size in *Size*, and a CLIP of your own in *Image encoder*: \
`demo_clip` knows the demo model's pictures alone. Type your concept into all prompts.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, ((NOTE, "1", "2", "3", "4"),)),),
            (Group("2. Samples and averages", WORK, (("10", "8", "6"),
                                                    ("15", "13", "11", "12", "5", "9", "7", "16"))),),
            (Group("3. Measures", REPORTS, (("20", "18", "19"),)),),
            (Group("4. Pictures", PICTURES, (("23", "21"), ("17",))), Group("5. The table", PICTURES, (("22",),))),
        ),
        widths={NOTE: 350, "23": 340, "17": 480},
        extra_heights={NOTE: 440, "17": 440, "22": 400, "23": 300},
        folded=frozenset({"8", "11", "12"}),
    ),
    "16_compare_checkpoints_word_by_word": Layout(
        note="""## What does a model think that words mean?

The average of every word by every checkpoint, from the same noise. Press **Run**.

Below each average: how many samples *look like a woman* and *like a man* to a small CLIP, how far samples scatter \
(**spread**), how far they have moved since the column before (**drift**), and in red what looks wrong.

- **Your words**: one a line. `template` goes around each.
- **Your checkpoints**: names or patterns, one a line, such as `sdxl/*`; set `width` and `height` to their own size \
and load a CLIP of your own: `demo_clip` knows the demo models' pictures alone.
- **Your attributes**: prompts to choose between, or a question to a BLIP-VQA.
- **The epochs of a training**: choose `loras` in `columns`, connect *Load Checkpoint*, and name the folder. Template \
*08_train_a_lora_on_one_kind_of_picture* leaves a LoRA of the word *woman*: `mental_averages_mode_*`.

An interrupted sheet goes on where it was when you press Run again.
""",
        groups=(
            (Group("1. What to look for", MODEL, ((NOTE, "1"),)),),
            (Group("2. Words and checkpoints", WORK, (("2",),)),),
            (Group("3. The sheet", PICTURES, (("3", "6"),)),),
            (Group("4. The numbers", REPORTS, (("4", "5"),)),),
        ),
        widths={NOTE: 380, "2": 380, "3": 740, "5": 480},
        extra_heights={NOTE: 700, "3": 640, "5": 400, "6": 240},
    ),
}
