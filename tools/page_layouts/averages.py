"""How the templates of a prompt's average lie on the page."""
from __future__ import annotations

from layout import MODEL, NOTE, OTHER, PICTURES, REPORTS, WORK, Group, Layout

LAYOUTS: dict[str, Layout] = {
    "00_mental_average_of_a_prompt": Layout(
        note="""## What does the model think of?

Type a word into **Prompt** and press **Run**. The picture is not one sample among many. It is where all samples of \
the word meet: whatever the seed, it hardly changes.

- **Your model**: choose its checkpoint, and its own size in *Size*: 512 for SD1.5, 1024 for SDXL, 64 for the pack's \
demo model, which also wants `cfg` 4.
- **A steadier picture**: raise `count`. It takes longer in proportion.
- **Next**: template 01 sets it beside other averages, 11 beside plain samples, 12 shows the family tree of a word.

An interrupted run goes on where it stopped when you press Run again.
""",
        groups=(
            (Group("1. Type a word", MODEL, ((NOTE, "1", "2", "4"),)),),
            (Group("2. Its mental average", OTHER, (("5", "6"),)),),
            (Group("3. What the model thinks of", PICTURES, (("7",),)),),
        ),
        widths={NOTE: 340, "5": 300, "7": 860},
        extra_heights={NOTE: 300, "7": 800},
        unfolded=frozenset({"6"}),
    ),
    "01_mental_average_beside_other_averages": Layout(
        note="""## A mental average

What does the model think of when it reads your prompt? Type a concept into **Prompt** and press **Run**.

Large: the average by **mean shift**. One clean picture is noised again and again and moved to the mean of what the \
model sees in it. Below it the average by **alignment**, as published: many trajectories are pulled to their mean in \
the model's semantic space. That its pictures look alike is the check.

The sheet sets both beside what else could be called an average: the means of pixels and of latents, the most central \
sample, and a sample that starts from zero.

- **Your model**: choose its checkpoint, and its own size in *Size*.
- **Steadier**: raise `count`.
- **Another seed**: give all nodes the same one.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, ((NOTE, "1", "2", "3", "4"),)),),
            (Group("2. The mental average, in two ways", OTHER, (("25", "24"), ("10", "16", "15"))),),
            (Group("3. Samples and their averages", WORK, (("7", "12", "6", "11", "9", "14", "13", "5", "8"),)),),
            (Group("4. Pictures", PICTURES, (("26", "27", "28", "19"), ("18",))),
             Group("5. For the sheet, and what was measured", REPORTS, (("17",), ("22", "23")))),
        ),
        widths={NOTE: 350, "28": 420, "18": 600, "17": 330, "23": 600},
        extra_heights={NOTE: 490, "28": 340, "18": 660, "23": 120},
        folded=frozenset({"13", "22", "26", "27"}),
    ),
    "10_find_the_layer_that_stands_for_meaning": Layout(
        note="""## Which layer stands for meaning?

*Measure every layer* reads all layers of the model while it samples a few prompts, and chooses one by what was \
measured. The curve shows every layer over the depth of the network. The chosen layer goes on to *An average in the \
chosen layer*.

- **Your model**: choose its checkpoint and its own size, and four to eight prompts of the kind that you will average.
- **Surer**: more `samples`; the margin says how far the choice is from the next best.
- What was measured is kept on disk: the same graph again takes seconds.
""",
        groups=(
            (Group("1. Model", MODEL, ((NOTE, "1", "3", "7"),)),),
            (Group("2. Prompts", MODEL, (("2", "4", "5", "6"),)),),
            (Group("3. The layers", WORK, (("8", "10"),)),),
            (Group("4. An average", OTHER, (("11", "12"),)),),
            (Group("5. Pictures", PICTURES, (("9", "13"),)),),
        ),
        widths={NOTE: 350, "8": 300, "13": 700},
        extra_heights={NOTE: 440, "9": 380, "10": 160, "13": 380},
    ),
    "11_the_same_average_from_every_seed": Layout(
        note="""## One picture, whatever the seed

Type a concept into **Prompt** and press **Run**.

*Mental average* keeps one clean latent, noises it again and again, and moves it to the mean of what the model sees in \
it. The sheet shows it beside plain samples and once more from another seed: that the two look alike is the check. \
Where looks differ is bright in its last row: what the prompt leaves open.

- **Your model**: choose its checkpoint or loader, quantised ones too, and its own size in *Size*. Nothing needs a \
gradient.
- **Softer or stronger**: the advanced `guidance_share`.
- **Steadier**: raise `count`.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, ((NOTE, "1", "2", "3", "4"),)),),
            (Group("2. The average, of two seeds", OTHER, (("9", "10", "7", "8"),)),),
            (Group("3. Plain samples", WORK, (("5", "6"),)), Group("5. For the sheet", REPORTS, (("13", "11"),))),
            (Group("4. Pictures", PICTURES, (("15", "16", "17"), ("14", "12"))),),
        ),
        widths={NOTE: 350, "17": 480, "12": 620},
        extra_heights={NOTE: 470, "12": 400, "14": 320, "17": 480},
        folded=frozenset({"9", "15", "16"}),
    ),
    "13_more_typical_or_more_unusual_samples": Layout(
        note="""## Typical and unusual

Every seed looks the same? Type a concept into **Prompt** and press **Run**.

*Mental average* draws the typical picture. *Typicality Guidance* pushes the samples of a KSampler away from it or \
towards it, in the first steps, in which layout and kind are decided. All start from the same noise; at strength 1 \
colours begin to saturate.

- **Your model**: choose its checkpoint, and its own size in *Size*.
- **Between two things**: connect the average of another prompt to `second`.
- **Longer or shorter**: `end_percent` of *Typicality Guidance*.

*How alike samples are* measures sameness: 1 is the same every time.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, ((NOTE, "1", "4", "2", "3"),)),),
            (Group("2. How alike samples are", REPORTS, (("21", "22"),)),),
            (Group("3. The typical picture", OTHER, (("6", "5"),)),),
            (Group("4. Samples by strength", WORK, (("16", "13", "12", "18", "15", "11", "17", "14"),
                                                    ("7", "9", "19", "8"))),),
            (Group("5. Pictures", PICTURES, (("20",),)),),
        ),
        widths={NOTE: 350, "20": 660, "22": 350},
        extra_heights={NOTE: 480, "20": 480, "22": 300},
        folded=frozenset({"11", "17"}),
    ),
    "15_mental_average_and_its_rivals": Layout(
        note="""## Rivals of the mental average

What else could stand for all samples of a prompt? Type a concept into **Prompt** and press **Run**. From the same \
samples the sheet shows:

1. **best of K**: the most typical sample
2. **pixel mean** and **average VAE**: blurry means
3. **aligned pixel mean**: pictures are bent onto each other first, as GANgealing does it
4. **D4M** and **MGD3**: dataset distillation of the samples' centroid, with two seeds each
5. **mental average**, with two seeds as well

Do the seeds agree, and is it a good picture?

- **Your model**: choose its checkpoint, and its own size in *Size*. D4M's authors write \
"cartoon, anime, painting" as negative prompt.
- **Best by your own score**: `scores` of *Best of K*.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, ((NOTE, "4", "1", "2", "3"),)),),
            (Group("2. The mental average", OTHER, (("24", "23", "22", "21"),)),),
            (Group("3. Samples", WORK, (("7", "8", "6", "9", "5"),)),),
            (Group("4. Plain averages", WORK, (("11", "12", "10"),)),
             Group("5. D4M and MGD3", OTHER, (("16", "15", "14", "13"), ("20", "19", "18", "17")))),
            (Group("6. Rows of the sheet", PICTURES, (("25",), ("27",))), Group("7. Pictures", PICTURES, (("26",),))),
        ),
        widths={NOTE: 350, "26": 640, "27": 340},
        extra_heights={NOTE: 410, "26": 600, "27": 300},
        folded=frozenset({"14", "18", "22"}),
    ),
    "18_steer_pictures_from_one_kind_to_another": Layout(
        note="""## Steering what the network knows

Pictures of two kinds say in which direction a network's features have to move. Type what you want into **With it**, \
its opposite into **Without it**, and press **Run**. The sheet shows both kinds, and samples of *Prompt* from one \
noise, steered away from it, not at all, and by more and more.

*What its layers know and do* lists them: AUROC 1 tells all pictures apart, 0.5 none, and *leads* says how far adding \
the direction there moves pictures from the one kind to the other. *Blends among the steered* marks what the model has \
perhaps never seen.

- **Your pictures**: take both links off *Direction*, then connect two batches of images of one size (*Batch Images*), \
thirty or more of each, and the VAE.
- *Flags* says that the steered are sampled by another model than their references. That is so, and meant.
- **Some layers alone**: `layers` of *Direction*.
- **Your model**: choose its checkpoint, and its own size in both sizes.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, ((NOTE, "1", "2", "3", "4"),)),),
            (Group("2. Two kinds of pictures", OTHER, (("6", "7", "9", "5", "13", "12", "8"),)),),
            (Group("3. From one to the other", REPORTS, (("14", "10", "11"),)),),
            (Group("4. Samples by strength", WORK, (("15", "18", "21", "16", "22"),
                                                    ("24", "19", "17", "20", "23", "25", "26"))),),
            (Group("5. Pictures", PICTURES, (("30",), ("31",))),
             Group("6. Which the model is unsure of", REPORTS, (("32", "33"),))),
        ),
        widths={NOTE: 350, "31": 420, "33": 660},
        extra_heights={NOTE: 510, "11": 100, "31": 460, "33": 300},
        folded=frozenset({"9", "16", "22", "25"}),
    ),
    "20_one_average_by_several_servers": Layout(
        note="""## One average on several ComfyUIs

The first mean of an average is taken over all its trajectories, none of which needs the others. So each ComfyUI takes \
some of them and writes a file, and one puts the files together and goes on. Here one takes two shards, to show the \
parts.

- **On several**: queue the first *MeanShard* on one server and the second on another, each as the only node that \
saves something. Bring the files into one input or output folder and name them in *MergeMeans*, where `*` stands for \
any part of a name.
- **More trajectories**: raise `total` in all shards alike, and let the next one `start` where the one before ends, at \
a multiple of 16.
- **Settings** have to be the same in the shards and in the node that goes on. AlignTrajectories goes on from shards \
that are made for it.

A shard that is there already is not made again. The picture is the same for any number of shards.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, ((NOTE, "1", "2", "3", "4"),)),),
            (Group("2. Two shards of the mean", WORK, (("5", "6"),)),),
            (Group("3. The average of both", OTHER, (("7", "8", "9", "10"),)),),
            (Group("4. The picture", PICTURES, (("11", "12", "13"),)),),
        ),
        widths={NOTE: 360, "13": 560},
        extra_heights={NOTE: 430, "13": 500},
        folded=frozenset({"7", "11", "12"}),
    ),
}
