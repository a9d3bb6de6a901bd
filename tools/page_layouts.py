"""How the example workflows lie on ComfyUI's page: their notes, and where their nodes stand (see page_workflow.py)."""

from __future__ import annotations

from layout import MODEL, NOTE, OTHER, PICTURES, PREVIEW, REPORTS, WORK, Group, Layout

LAYOUTS = {
    "01_mental_average": Layout(
        note="""## A mental average

What does the model think of when it reads your prompt? Type a concept into **Prompt** and press **Run**.

The sheet shows six pictures of it:

1. **plain samples**: what the model draws, each from its own noise
2. **pixel mean**: the mean of those pictures, blurry
3. **average of latents**: the mean before decoding, blurry too
4. **medoid**: the most central of the plain samples
5. **zero-latent sample**: one sample that starts from zero instead of noise
6. **mental average**: many trajectories pulled to their mean in the model's semantic space. Several are finished; \
that they look alike is the check.

- **More trajectories**: raise `count` of *Align trajectories*, to 256 for a steadier average; only its first mean \
takes longer. `batch_size` of *Size* is the number of plain samples.
- **The paper's own recipe**: its advanced `preset` *paper* with `count` 1000, which takes hours.
- **Another model**: choose its checkpoint, and its own resolution in *Size*.
- **Another seed**: the seeds of *Plain samples* and *Align trajectories* stay equal, so that both start from the same \
noise.

An interrupted run goes on where it stopped when you press Run again. What was measured on the way is saved as JSON; \
*Load Report* also reads the file of an earlier run.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, (("1", "2", "3", "4", NOTE),)),),
            (Group("2. Plain samples and their averages", WORK,
                   (("5", "13"), ("6", "8", "9", "14"), ("7", "11", "12"))),
             Group("3. The mental average", OTHER, (("10",), ("15",), ("16",)))),
            (Group("4. Pictures", PICTURES, (("17", "18"), ("19",))),
             Group("5. What was measured: saved, read back, plotted", REPORTS, (("20", "21", "22"), ("23",)))),
        ),
        widths={NOTE: 440, "18": 700, "19": 400, "20": 340, "23": 760},
        # Room for the note, for the pictures, and for the previews under nodes that sample.
        extra_heights={NOTE: 560, "5": PREVIEW, "13": PREVIEW, "15": PREVIEW, "18": 640, "19": 380, "23": 500},
    ),
    "02_round_trip": Layout(
        note="""## A picture to its noise and back

**DDIM Invert** finds the noise from which deterministic sampling makes a picture. **DDIM Sample** goes back. How well \
that works decides how good averages and morphs of pictures can be.

The sheet shows the picture, what encoding and decoding alone make of it, and the way back from its noise. The second \
and the third should look alike. *Report* says how much each step lost.

- **Your picture**: choose it in *Picture* and describe it in *What the pictures show*. `demo_cat_face.png` is one of \
the pack's small demo pictures; its quickstart puts them into the input folder.
- **Another model**: choose its checkpoint and set *Size* to its own resolution; 64 × 64 is the small demo model's.
- **Method**: `fixed_point` solves every step. `ddim` is the plain method: choose it to see what it loses. `exact` \
returns the latent itself.
- **Guidance**: inversion at cfg 1. `null_text` is for a way back with more; connect the negative prompt then.

Group 3 does the same with **SamplerCustomAdvanced**: *DDIM Sampler* goes up along rising sigmas and down along \
falling ones, without noise from a seed. Use it in graphs with guiders and sigmas of their own.
""",
        groups=(
            (Group("1. Model and picture", MODEL, (("1", "2", "3", NOTE), ("4", "5", "6"))),),
            (Group("2. To the noise and back", WORK, (("7",), ("8", "9", "10"))),
             Group("3. The same as a custom sampler", OTHER, (("11", "12", "14"), ("13", "15"), ("16", "17", "18")))),
            (Group("4. Pictures", PICTURES, (("19",), ("20",))),
             Group("5. What was measured", REPORTS, (("21", "22"), ("23",)))),
        ),
        widths={NOTE: 440, "20": 400, "21": 340, "23": 760},
        extra_heights={NOTE: 620, "4": PREVIEW, "8": PREVIEW, "16": PREVIEW, "17": PREVIEW, "20": 560, "23": 500},
    ),
    "03_average_of_pictures": Layout(
        note="""## The average of four pictures

The pictures are inverted to their noise, the noise is averaged, and the average is sampled. The result is a sharp \
picture again, not a blend of pixels.

Three ways to average, one row each:

1. **mean of their noise**: too short for noise, because what differs cancels
2. **fix**: scaled to the norm of ordinary noise. The bias that all inversions share is scaled with it: with many \
pictures the result degenerates (see *05_degeneracy*).
3. **fix/channel**: the mean of each channel is left as it is and only the rest is scaled

With four pictures the last two are still close.

- **Your pictures**: choose them in *Picture 1* to *4*; *Pictures* has room for more. Describe what they have in \
common in *What the pictures show*. The `demo_*.png` are the pack's small demo pictures; its quickstart puts them into \
the input folder.
- **Another model**: choose its checkpoint and set *Size* to its own resolution; 64 × 64 is the small demo model's.
- **Weights**: empty `weights` treat all pictures alike. Type one row, such as `0.7 0.1 0.1 0.1`, to lean towards one.
- **cfg** of the three samples: 1 follows the noise, more follows the prompt.

*Statistics* shows the bias: channel means away from zero.
""",
        groups=(
            (Group("1. Model", MODEL, (("1", "2", "3", NOTE),)),
             ),
            (Group("2. Pictures and their noise", WORK, (("4", "5"), ("6", "7"), ("8", "9", "10", "11"))),
             Group("3. What the noise has in common", REPORTS, (("24", "26"), ("25",)))),
            (Group("4. Three averages", OTHER, (("12", "13", "14"), ("15", "17", "19"), ("16", "18", "20"))),),
            (Group("5. Pictures", PICTURES, (("21", "23"), ("22",))),),
        ),
        widths={NOTE: 440, "22": 700, "25": 640},
        extra_heights={NOTE: 680, "4": PREVIEW, "5": PREVIEW, "6": PREVIEW, "7": PREVIEW, "15": PREVIEW, "17": PREVIEW,
                       "19": PREVIEW, "22": 560, "23": PREVIEW, "25": 460, "26": 160},
    ),
    "04_morph": Layout(
        note="""## A morph through four pictures

The noise of four inverted pictures is mixed with rows of weights: one row, one picture. **Mixing Weights** writes the \
rows, along a path from each picture to the next or on a grid with the four pictures at its corners.

`restored_variance` gives each input back where it has all the weight, so that the pictures themselves are the ends of \
the morph. In between the mixed noise keeps the norm of noise.

- **Your pictures**: choose them in *Picture 1* to *4*. The order is that of the path; on the grid they are at top \
left, top right, bottom left and bottom right. The `demo_*.png` come with the pack's quickstart.
- **Another model**: choose its checkpoint and set *Size* to its own resolution; 64 × 64 is the small demo model's.
- **More pictures between**: raise `steps` of the path or `size` of the grid (and `columns` of *Labelled sheet* and \
*Lay out*).
- **A loop**: switch on `closed`.
- **Other numbers of pictures**: *Pictures* takes them, and both *Mixing Weights* count what is connected to `batch`. \
A grid needs three or four.
- **cfg**: at 1 the ends come back exactly. More makes pictures between the ends sharper and the ends less like the \
originals.
""",
        groups=(
            (Group("1. Model", MODEL, (("1", "2", "3", NOTE),)),),
            (Group("2. Pictures and their noise", WORK, (("4", "5"), ("6", "7"), ("8", "9", "10", "11"))),),
            (Group("3. Along a path", OTHER, (("12", "13"), ("14", "15"), ("16",), ("17",))),
             Group("4. On a grid", PICTURES, (("18", "19"), ("20", "21"), ("22", "23"), ("24",)))),
        ),
        widths={NOTE: 440, "17": 800, "24": 480},
        extra_heights={NOTE: 580, "4": PREVIEW, "5": PREVIEW, "6": PREVIEW, "7": PREVIEW, "14": PREVIEW, "20": PREVIEW,
                       "17": 260, "24": 480},
    ),
    "05_degeneracy": Layout(
        note="""## Why averages of many pictures degenerate

96 pictures are made, inverted, and averaged: the first 2, 8, 32, 48, 64 and 96 of them. Each column of the sheet \
takes in more pictures.

1. **fix**: the mean is scaled to the norm of noise. Differences cancel in the mean, a bias that all inversions share \
does not, and the scaling raises it with the square root of the number of pictures.
2. **fix, channel means kept**: the mean of each channel is left as it is, so the bias is not raised.
3. **nin, channel means kept**: the same with the norm of the inputs in place of that of noise.

The last row puts such a bias into the noise of one picture by hand: two channels are shifted against each other in \
the top quarter, by 0 to 0.8. *Statistics* shows the growth over the number of pictures.

Degeneration is a matter of large models and large pictures. The inversions of this pack's small demo model have so \
much in common that the growth soon levels off, and its first three rows of averages look alike.

- **A folder of pictures**: put it into ComfyUI's input folder and use *Load Image (from Folder)*, *Upscale Image* to \
the model's size and *Rebatch Images* with `batch_size` 96 in place of *Make pictures* and *Pictures*.
- **Another number**: change `batch_size` of *How many pictures* and `counts` of *The first N pictures* together.
- **Another model**: choose its checkpoint and set *How many pictures* to its own resolution; 64 × 64 is the small \
demo model's.
- **Another concept**: the prompt is used for making, inverting and sampling.
""",
        groups=(
            (Group("1. Model", MODEL, (("1", "2", "3", NOTE),)),),
            (Group("2. Many pictures and their noise", WORK, (("4", "5"), ("6", "7", "8"))),
             Group("3. What the noise has in common", REPORTS, (("25", "27", "28"), ("26",)))),
            (Group("4. Averages of the first N", OTHER,
                   (("9",), ("10", "13", "16"), ("11", "14", "17"), ("12", "15", "18"))),
             Group("5. A bias put in by hand", WORK, (("19",), ("20",), ("21",), ("22",)))),
            (Group("6. The figure", PICTURES, (("23",), ("24",))),),
        ),
        widths={NOTE: 440, "24": 900, "26": 640},
        extra_heights={NOTE: 750, "5": PREVIEW, "11": PREVIEW, "14": PREVIEW, "17": PREVIEW, "21": PREVIEW, "24": 620,
                       "26": 460, "27": 160},
    ),
    "06_modes": Layout(
        note="""## The modes of a concept

Many pictures of one prompt are embedded by an image encoder and sorted by a Gaussian mixture. The Bayesian \
information criterion (BIC) chooses how many modes there are.

**Image encoder**: `demo_clip` is the small CLIP of this pack's demo model, for its pictures alone. The pack's \
quickstart puts it in place; in a copy of its repository `python demo/clip_model.py \
ComfyUI/models/image_encoders/demo_clip` does, with ComfyUI's Python. For other pictures copy a CLIP, SigLIP or DINOv2 \
in the format of the transformers library into a folder of its own under `models/image_encoders`, refresh the page and \
choose it: `config.json`, `preprocessor_config.json` and `model.safetensors`. Nothing is downloaded while a graph runs.

- *Modes*: one row per mode, the largest on top, its most typical pictures first
- *Scatter*: the pictures on their first two principal components
- *Number of modes*: BIC by number; the lowest wins
- *Members of the mode*: the pictures of the mode that *One mode* picks; 0 is the largest
- *Means*: the mean of the pictures of each mode. Behind `all_modes` nodes run once per mode.

Latents can be picked as well as pictures: connect those of *Make pictures* to *One mode*.

- **Another model**: choose its checkpoint, set *How many pictures* to its own resolution (64 × 64 is the small demo \
model's), and choose another image encoder.
- **A number of your own**: choose `fixed` for the components.
- **Few or many pictures**: lower or raise the dimensions and `minimum_size` with them.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, (("1", "2", "3", NOTE),)),),
            (Group("2. Many pictures", WORK, (("4", "5", "6"),)), Group("3. Modes", OTHER, (("7", "8", "12"),))),
            (Group("4. What was found", PICTURES, (("9",), ("10", "11"))),
             Group("5. One mode, and all of them", REPORTS, (("13", "17"), ("14",), ("15", "16")))),
        ),
        widths={NOTE: 440, "9": 700, "10": 480, "11": 480, "14": 400},
        extra_heights={NOTE: 730, "5": PREVIEW, "9": 560, "10": 360, "11": 300, "12": 240, "14": 400, "16": PREVIEW,
                       "17": 60},
    ),
    "07_modes_by_a_question": Layout(
        note="""## Modes by a question

Clusters of plain image embeddings differ in what is most visible. To see modes of one attribute, ask about it: a \
BLIP-VQA answers a question about each picture, and the state in which it answers is the embedding that is clustered.

**Needed once**: a BLIP-VQA in the format of the transformers library, such as Salesforce's `blip-vqa-base`, as a \
folder under `models/image_encoders`: `config.json`, `preprocessor_config.json`, `model.safetensors` and the \
tokenizer's files. Nothing is downloaded while a graph runs. Refresh the page and choose the folder in *Encoder that \
answers*. A small one for the demo model comes from the repository's bench `attribute_states` with `--keep FOLDER`.

*Answers* counts what was answered. If nearly all pictures get one answer, the question does not divide them.

- **Another model**: choose its checkpoint and set *How many pictures* to its own resolution; 64 × 64 is the small \
demo model's.
- **Your question**: type it in *The question*; a question with few possible answers works best.
- **Which state**: four candidates in `state`; `answer_mean` did best where it was measured. Compare their clusters \
with the counted answers.
- **How many dimensions**: 64 pictures are few, so three principal components are clustered. Take more with more \
pictures.
- **Without a BLIP**: choose `prompts` as method, with a CLIP or SigLIP as encoder and one prompt per line, such as \
*light skin* and *dark skin*.

What the network answers is not what is there: it has prejudices of its own.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, (("1", "2", "3", NOTE),)),),
            (Group("2. Many pictures", WORK, (("4", "5", "6"),)),
             Group("3. Question and modes", OTHER, (("7", "8", "9"), ("10",)))),
            (Group("4. What was found", PICTURES, (("11",), ("12", "13"))),
             Group("5. One mode", REPORTS, (("14",), ("15",)))),
        ),
        widths={NOTE: 440, "11": 700, "12": 480, "13": 480, "15": 400},
        extra_heights={NOTE: 640, "5": PREVIEW, "9": 160, "11": 560, "12": 360, "13": 300, "15": 400},
    ),
    "08_adapter_per_mode": Layout(
        note="""## One adapter per mode

A concept has more than one look, and one average of all is a blend of them. Here each mode gets an adapter of its \
own, and with it the model draws this mode alone: new samples, and a mental average.

1. *Modes without training* samples the concept, finds two modes, and averages each as it is.
2. *Select Mode* picks the **latents** of a mode as they came out of the sampler. They are what is trained on.
3. *Adapter* trains a LoRA of rank 1 on them, and gives back the model with it.
4. New samples and an average come from that model, with the same prompt.

5. *A word for the largest mode* trains an embedding instead, for the same samples; `embedding:mental_averages_mode_0` \
then works in any prompt.

*Sheet* shows for each mode its members, new samples with its adapter and its average; the averages without training \
are at the bottom. The adapters are in ComfyUI's output folder under `loras`: move them to `models/loras` to use them \
anywhere.

- **Another prompt**: choose another `name` for *A word for the largest mode*, because a file of another concept is \
not replaced, and the concept's own word as `initial_text`.
- **Another model**: choose its checkpoint and its resolution, and the node's own defaults for training: 2000 steps at \
0.0001. The values here suit the small demo model. Words can be trained for SD1.5 and SDXL; remove group 3 for others.
- **Other modes**: raise `modes`, and choose numbers in the four *Select Mode* nodes; 0 is the largest.
- **Clusters of pictures**: *CLIPGMMClusters* of template 06 can take the place of *Modes without training*.

An interrupted training goes on where it stopped when you press Run again.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, (("1", "2", "3", "4", NOTE),)),),
            (Group("2. Samples and their modes", OTHER, (("5", "6"), ("7", "8"))),
             Group("3. A word for the largest mode", OTHER, (("30",), ("31", "32")))),
            (Group("4. The largest mode", WORK, (("10", "11"), ("12", "13"), ("14", "15"), ("16", "17", "18"))),
             Group("5. Another mode", WORK, (("20", "21"), ("22", "23"), ("24", "25"), ("26", "27", "28")))),
            (Group("6. Side by side", PICTURES, (("40", "41"),)),
             Group("7. What was measured", REPORTS, (("42", "43"),))),
        ),
        widths={NOTE: 440, "41": 760, "43": 760},
        extra_heights={NOTE: 740, "6": PREVIEW, "12": PREVIEW, "14": PREVIEW, "17": PREVIEW, "22": PREVIEW,
                       "24": PREVIEW, "27": PREVIEW, "31": PREVIEW, "41": 640, "43": 460},
    ),
    "09_modes_in_one_node": Layout(
        note="""## From a prompt to its modes

*Samples* draws the concept many times. *Clusters* sorts the pictures by what they show, and *An adapter and an \
average for each* does for every mode what template 08 wires by hand: it trains an adapter on the mode's samples, and \
averages with it. Its sheet has one row per mode: its share, its average, its most typical pictures.

- **One mode again, the others as they are**: write a line into `overrides`, such as `1: steps=500`. Only that mode \
runs again.
- **By what a question asks**: put *Attribute Embed* of template 07 before *Clusters*.
- **No training**: choose `none` as adapter. *Align Mixture Modes* of template 08 needs no image encoder either.
- **Another model**: choose its checkpoint and size, an image encoder for its pictures (see template 06), and the \
paper's 2000 steps at 0.0001 for training. The values here suit the small demo model, and so does `target`: large \
models have enough layers in `attention`.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, (("1", "2", "3", NOTE),)),),
            (Group("2. Samples", WORK, (("4", "5", "6"),)), Group("3. Modes", OTHER, (("7", "8"),))),
            (Group("4. An average of each", WORK, (("12",),)),),
            (Group("5. Pictures", PICTURES, (("13",), ("9",))),),
        ),
        widths={NOTE: 440, "13": 760, "9": 760},
        extra_heights={NOTE: 420, "5": PREVIEW, "12": 60, "13": 520, "9": 460},
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
- **Softer or stronger**: `averaged_steps`, and the advanced `guidance_share`.
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
}
