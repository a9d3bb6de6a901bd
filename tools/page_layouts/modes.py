"""How the templates of a concept's modes lie on the page."""
from __future__ import annotations

from layout import MODEL, NOTE, OTHER, PICTURES, PREVIEW, REPORTS, WORK, Group, Layout

LAYOUTS: dict[str, Layout] = {
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
    "12_family_tree": Layout(
        note="""## The family tree of a concept

What do the pictures of your prompt have in common? Type a concept into **Prompt** and press **Run**.

*Family tree* draws many samples. Then it moves each to where the model's pictures lie most densely, at a low noise \
level first, and at higher ones after that: samples that end in one place are one **mode**, and modes merge as noise \
hides what tells them apart. Nothing is trained, and no image encoder is needed.

- *Tree*: the highest noise level on top; each picture is the average of a mode, and a branch is as wide as its share \
of the samples
- *Modes of the chosen level*: one row per mode, its average first, then its most typical samples
- *Samples of the largest mode*: what *Select Mode* picks; 0 is the largest

- **Which level goes out**: `cut` asks for a number of modes, or for a row of the tree. Another cut costs next to \
nothing: samples, tree and averages are kept.
- **Finer modes**: raise `count`, and the advanced `noises`; both cost in proportion.
- **Another model**: choose its checkpoint and its own resolution in *Size*. Where its levels lie is the advanced \
`levels`: if all samples are one mode, choose later steps; if each is its own, earlier ones.
- **An average with an adapter for each mode**: connect *Family tree*'s `clusters` and `samples` to *Align Modes* of \
template 09.

An interrupted run goes on where it stopped when you press Run again.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, (("1", "2", "3", "4", NOTE),)),),
            (Group("2. The tree", WORK, (("5",),)), Group("3. One mode", OTHER, (("8", "9"), ("10",)))),
            (Group("4. Pictures", PICTURES, (("6",), ("7",))), Group("5. As numbers", REPORTS, (("11",),))),
        ),
        widths={NOTE: 440, "6": 760, "7": 760, "10": 400},
        extra_heights={NOTE: 640, "5": PREVIEW, "6": 640, "7": 640, "10": 400},
    ),
    "17_representations": Layout(
        note="""## What the network sees in a picture

No image encoder here: the denoiser itself has to know what is in a picture to take noise off it. *What the network \
sees* adds noise to each picture, asks the network under an empty prompt, and keeps the mean of every channel of its \
middle block, over space and over several draws of noise.

- *Pictures that lie together*: clusters of these channel means, one row each
- *Over the depth of the network*: how many channels are active for a picture in each block (the participation ratio), \
and how many are special to few pictures
- *The ladder*: three averages of the prompt. Matched in the whole feature map, all show one layout; over 2 × 2 cells \
only roughly; in channel means what is shown agrees, and where it stands is open.
- *Which it has by heart*: how spiky features are beside those of pictures without a prompt, with a flag of which at \
most one in 20 like these is a false alarm. It is no proof: what differs in any other way from these is flagged, too.
- *Same features, other layouts*: pictures from the mean of all representations, each noised, moved until its channel \
means are those, and denoised, from much noise to little

*Keep it* writes the representation to a file, *Read it again* reads it, here or in another graph.

- **Your own pictures**: *Load Image* and *VAE Encode* in the place of *Make pictures*.
- **Noise levels**: `levels` are shares of sampling; several are kept side by side. Low ones see layout, high ones \
details.
- **Number of clusters by BIC**: choose `gaussian mixture` as method and `bic` for the components.
- **Another model**: choose its checkpoint and its own resolution in *How many pictures*.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, (("1", "2", "3", NOTE),)),),
            (Group("2. Pictures", WORK, (("4", "5", "6"),)),
             Group("3. Their representation", OTHER, (("7", "8", "9"), ("10", "13"))),
             Group("7. By heart?", WORK, (("27", "28"),))),
            (Group("4. The pooling ladder", WORK, (("16", "17", "18"), ("19", "20", "21"), ("22", "23", "24"))),
             Group("8. From features to pictures", OTHER, (("31", "32"), ("33", "34")))),
            (Group("5. Pictures", PICTURES, (("11", "25", "26"),)),
             Group("6. As numbers", REPORTS, (("12", "14", "15"), ("29", "30")))),
        ),
        widths={NOTE: 440, "11": 700, "12": 480, "14": 700, "15": 700, "25": 400, "26": 700, "29": 700, "30": 700,
                "34": 480},
        extra_heights={NOTE: 820, "5": PREVIEW, "11": 560, "12": 360, "14": 520, "15": 300, "17": PREVIEW,
                       "20": PREVIEW, "23": PREVIEW, "26": 420, "27": PREVIEW, "29": 520, "30": 300, "32": PREVIEW,
                       "34": 420},
    ),
}
