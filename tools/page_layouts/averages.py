"""How the templates of a prompt's average lie on the page."""
from __future__ import annotations

from layout import MODEL, NOTE, OTHER, PICTURES, PREVIEW, REPORTS, WORK, Group, Layout

LAYOUTS: dict[str, Layout] = {
    "01_mental_average": Layout(
        note="""## A mental average

What does the model think of when it reads your prompt? Type a concept into **Prompt** and press **Run**.

The sheet shows seven pictures of it:

1. **plain samples**: what the model draws, each from its own noise
2. **pixel mean**: the mean of those pictures, blurry
3. **average of latents**: the mean before decoding, blurry too
4. **medoid**: the most central of the plain samples
5. **zero-latent sample**: one sample that starts from zero instead of noise
6. **mental average, aligned**: many trajectories pulled to their mean in the model's semantic space, as published. \
Several are finished; that they look alike is the check.
7. **mental average, mean shift**: one clean picture, noised again and again and moved to the mean of what the model \
sees in it. It hardly depends on the seed, and works on any model.

- **More trajectories**: raise `count` of *Align trajectories*, to 256 for a steadier average; only its first mean \
takes longer. `batch_size` of *Size* is the number of plain samples.
- **The paper's own recipe**: its advanced `preset` *paper* with `count` 1000, which takes hours.
- **Another model**: choose its checkpoint, and its own resolution in *Size*.
- **Another seed**: the seeds of *Plain samples* and of both averages stay equal, so that all start from the same noise.

An interrupted run goes on where it stopped when you press Run again. What was measured on the way is saved as JSON; \
*Load Report* also reads the file of an earlier run.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, (("1", "2", "3", "4", NOTE),)),),
            (Group("2. Plain samples and their averages", WORK,
                   (("5", "13"), ("6", "8", "9", "14"), ("7", "11", "12"))),
             Group("3. The mental average, in two ways", OTHER, (("10", "16", "25"), ("15",), ("24",)))),
            (Group("4. Pictures", PICTURES, (("17", "18"), ("19", "26"))),
             Group("5. What was measured: saved, read back, plotted", REPORTS, (("20", "21", "22"), ("23",)))),
        ),
        widths={NOTE: 440, "18": 700, "19": 400, "26": 400, "20": 340, "23": 760},
        # Room for the note, for the pictures, and for the previews under nodes that sample.
        extra_heights={NOTE: 660, "5": PREVIEW, "13": PREVIEW, "15": PREVIEW, "24": PREVIEW, "18": 700, "19": 380,
                       "26": 380, "23": 500},
    ),
    "10_semantic_layer": Layout(
        note="""## Which layer stands for meaning?

*Measure every layer* reads all layers of the model while it samples a few prompts, and chooses the layer by what was \
measured. The curve shows every layer over the depth of the network. The chosen layer goes on to *An average in the \
chosen layer*.

- **Your model**: choose its checkpoint and size, and prompts of the kind that you will average, four to eight of them.
- **Surer**: more `samples`; the margin says how far the choice is from the next best.
- What was measured is kept on disk: the same graph again takes seconds.
""",
        groups=(
            (Group("1. Model and prompts", MODEL, (("1", "7", "3", NOTE), ("2", "4", "5", "6"))),),
            (Group("2. The layers", WORK, (("8",), ("9", "10"))),),
            (Group("3. An average", PICTURES, (("11",), ("12", "13"))),),
        ),
        widths={NOTE: 440, "9": 760, "10": 760},
        extra_heights={NOTE: 360, "9": 460, "10": 300, "11": PREVIEW, "13": 260},
    ),
    "11_one_picture": Layout(
        note="""## One picture, whatever the seed

What does the model think of when it reads your prompt? Type a concept into **Prompt** and press **Run**.

*Mental average* keeps one clean latent, noises it again and again, and moves it to the mean of what the model sees in \
it. The sheet shows:

1. **plain samples**: what the model draws, each from its own noise
2. **mental average**: one picture for all of them
3. **with another seed**: the same once more, from other noises. That the two look alike is the check.
4. **where looks differ**: bright is what the prompt leaves open

- **Any model**: choose its checkpoint or loader, quantised ones too, and its own resolution in *Size*. Nothing needs \
a gradient.
- **Softer or stronger**: the advanced `guidance_share`.
- **A steadier picture**: raise `count`.

An interrupted run goes on where it stopped when you press Run again.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, (("1", "2", "3", "4", NOTE),)),),
            (Group("2. Plain samples", WORK, (("5", "6"),)),),
            (Group("3. The average of two seeds", OTHER, (("7", "8"), ("9", "10"))),),
            (Group("4. Pictures", PICTURES, (("11",), ("12",))),
             Group("5. What was measured", REPORTS, (("13",), ("14",)))),
        ),
        widths={NOTE: 440, "12": 700, "14": 760},
        extra_heights={NOTE: 470, "5": PREVIEW, "7": PREVIEW, "9": PREVIEW, "12": 560, "14": 460},
    ),
    "13_typical_and_unusual": Layout(
        note="""## Typical and unusual

Every seed looks the same? Type a concept into **Prompt** and press **Run**.

*Mental average* draws the typical picture. Each *Typicality Guidance* then pushes the samples of a KSampler away from \
it or towards it, in the first steps, in which layout and kind are decided. All start from the same noise. The sheet \
shows:

1. **the typical**: the mental average
2. **strength -0.5**: samples pushed towards it
3. **0**: samples as they are
4. **0.5** and **1**: samples pushed away from it. At 1 colours begin to saturate.

- **Between two things**: connect the average of another prompt to `second`.
- **Longer or shorter**: `end_percent` of *Typicality Guidance*.
- **Another model or size**: choose both; the average is to have the size of the samples, so that one *Size* serves all.

*How alike samples are* measures the sameness of some prompts' samples: 1 is the same every time. Connect a patched \
model to see what a patch does.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, (("1", "2", "3", "4", NOTE),)),),
            (Group("2. The typical picture", OTHER, (("5", "6"),)),),
            (Group("3. Samples by strength", WORK, (("7", "8", "9"), ("10", "11", "12"), ("13", "14", "15"),
                                                    ("16", "17", "18"))),),
            (Group("4. Pictures", PICTURES, (("19",), ("20",))),
             Group("5. How alike samples are", REPORTS, (("21",), ("22",), ("23",), ("24",)))),
        ),
        widths={NOTE: 440, "20": 700, "22": 700, "24": 700},
        extra_heights={NOTE: 600, "5": PREVIEW, "8": PREVIEW, "11": PREVIEW, "14": PREVIEW, "17": PREVIEW, "20": 560,
                       "21": 120, "22": 360, "24": 260},
    ),
    "15_rivals": Layout(
        note="""## Rivals of the mental average

What else could stand for all samples of a prompt? Type a concept into **Prompt** and press **Run**. From the same \
samples the sheet shows:

1. **samples**: what the model draws
2. **best of K**: the most typical of them
3. **pixel mean** and **average VAE**: the means of pixels and of latents, blurry
4. **aligned pixel mean**: the mean of pictures that are moved and bent onto each other first, as GANgealing does it
5. **D4M** and **MGD3**: what two methods of dataset distillation make of the samples' centroid, each with two seeds
6. **mental average**: with two seeds as well

Look at two things: how good a picture is, and whether the seeds agree.

- **More samples**: `batch_size` of *Size*.
- **D4M on your own model**: its authors write "cartoon, anime, painting" as negative prompt. The demo model knows \
none of these words, so that it is empty here.
- **Best by your own score**: write a number for each picture into `scores` of *Best of K*.

*Aligned pictures* shows how each sample was warped.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, (("1", "2", "3", "4", NOTE),)),),
            (Group("2. Samples, and their plain averages", WORK, (("5", "6", "7", "8"), ("9", "12", "10", "11"))),),
            (Group("3. Prototypes and the mental average, two seeds each", OTHER, (("13", "14", "15", "16"),
                                                                                 ("17", "18", "19", "20"),
                                                                                 ("21", "22", "23", "24"))),),
            (Group("4. Pictures", PICTURES, (("25", "27"), ("26",))),),
        ),
        widths={NOTE: 440, "26": 700, "27": 400},
        extra_heights={NOTE: 640, "5": PREVIEW, "13": PREVIEW, "14": PREVIEW, "17": PREVIEW, "18": PREVIEW,
                       "21": PREVIEW, "22": PREVIEW, "26": 700, "27": 380},
    ),
    "18_steer": Layout(
        note="""## Steering what the network knows

Pictures of two kinds say in which direction a network's features have to move. Type what you want into **With it** \
and its opposite into **Without it**, and press **Run**. The sheet shows:

1. **with it**, **without it**: pictures of either kind, which the direction is made of
2. **strength -6**: samples of *Prompt*, steered the other way
3. **strength 0**: samples as they are
4. **strength 3** and **6**: steered towards it, from the same noise; at **12** pictures fall apart

*How well it tells them apart* lists the layers: AUROC 1 tells all pictures apart, 0.5 none. *Blends among the \
steered* compares the strongest samples with those at strength 0: what still moves unusually much in the last steps of \
its sampling may be a blend that the model has never seen.

- **Your own pictures**: connect two batches of images to *Direction* in place of the samples; thirty or more of each, \
which differ in one thing.
- **Some layers alone**: write their names into `layers` of *Direction*.
- **Early or late**: `start_percent` and `end_percent` of *Steer Representation*.
- **Another model or size**: choose both; direction and samples belong to one model.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, (("1", "2", "3", "4", NOTE),)),),
            (Group("2. Two kinds of pictures", OTHER, (("7", "5", "6"), ("8", "12"), ("9", "13"))),),
            (Group("3. The way from one to the other", REPORTS, (("10", "11"), ("14",))),),
            (Group("4. Samples by strength", WORK, (("15", "16", "17"), ("18", "19", "20"), ("21", "22", "23"),
                                                    ("24", "25", "26"), ("27", "28", "29"))),),
            (Group("5. Pictures", PICTURES, (("30",), ("31",))),
             Group("6. Do the steered hold?", REPORTS, (("32",), ("33",)))),
        ),
        widths={NOTE: 440, "11": 500, "31": 700, "33": 700},
        extra_heights={NOTE: 620, "8": PREVIEW, "9": PREVIEW, "11": 260, "16": PREVIEW, "19": PREVIEW, "22": PREVIEW,
                       "25": PREVIEW, "28": PREVIEW, "31": 640, "33": 340},
    ),
}
