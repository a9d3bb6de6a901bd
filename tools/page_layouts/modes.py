"""How the templates of a concept's modes lie on the page."""
from __future__ import annotations

from layout import MODEL, NOTE, OTHER, PICTURES, REPORTS, WORK, Group, Layout

LAYOUTS: dict[str, Layout] = {
    "06_the_kinds_of_pictures_a_prompt_gives": Layout(
        note="""## The modes of a concept

Many pictures of one prompt are embedded by an image encoder and sorted by a Gaussian mixture. The Bayesian \
information criterion (BIC) chooses how many modes there are.

- *Modes*: one row per mode, the largest on top
- *Scatter*: the first two principal components
- *Number of modes*: BIC; the lowest wins
- *Members of the mode*: what *One mode* picks; 0 is the largest
- *Means*: nodes behind `all_modes` run once per mode

**Image encoder**: `demo_clip` comes with the pack's quickstart and knows the demo model's pictures alone. For others \
put a CLIP, SigLIP or DINOv2 in the format of the transformers library into a folder under `models/image_encoders`.

- **Your model**: choose its checkpoint, and its own size in *How many pictures*.
- **A number of your own**: choose `fixed` for the components.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, ((NOTE, "1", "2", "3", "4"),)),),
            (Group("2. Many pictures", WORK, (("5", "6"),)), Group("3. Modes", OTHER, (("7", "8"),))),
            (Group("4. One mode, and all of them", REPORTS, (("13", "17", "14", "15", "16"),)),),
            (Group("5. What was found", PICTURES, (("9",), ("10", "11"))), Group("6. Numbers", REPORTS, (("12",),))),
        ),
        widths={NOTE: 360, "9": 620, "10": 420},
        extra_heights={NOTE: 540, "9": 600, "10": 300, "11": 300},
    ),
    "07_sort_pictures_by_a_question": Layout(
        note="""## Modes by a question

Clusters of plain image embeddings differ in what is most visible. To see modes of one attribute, ask about it: a \
BLIP-VQA answers a question about each picture, and the state in which it answers is what is clustered.

**Needed once**: a BLIP-VQA in the format of the transformers library, such as Salesforce's `blip-vqa-base`, as a \
folder under `models/image_encoders`. Choose it in *Encoder that answers*.

- **Your model**: choose its checkpoint, and its own size in *How many pictures*.
- **Your question**: one with few possible answers. If nearly all get one answer in *Answers*, it does not divide them.
- **Without a BLIP**: choose `prompts` as method, with a CLIP and one prompt per line.

What the network answers is not what is there: it has prejudices of its own.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, ((NOTE, "1", "2", "3", "4"),)),),
            (Group("2. Many pictures", WORK, (("5", "6"),)),
             Group("3. The question", OTHER, (("7", "8", "9"),))),
            (Group("4. Modes", OTHER, (("10", "14", "15"),)),),
            (Group("5. What was found", PICTURES, (("11",), ("12", "13"))),),
        ),
        widths={NOTE: 350, "11": 620, "12": 420},
        extra_heights={NOTE: 400, "9": 100, "11": 600, "12": 360, "13": 300},
    ),
    "08_train_a_lora_on_one_kind_of_picture": Layout(
        note="""## An adapter for one mode

A concept has more than one look, and one average of all is a blend of them. Here the largest mode gets an adapter of \
its own, and with it the model draws this mode alone. Template 09 does it for all modes in one node.

1. *Modes without training* samples the concept, finds two modes, and averages each as it is.
2. *Adapter* trains a LoRA of rank 1 on the **latents** of the mode, and gives back the model with it.
3. *A word* trains an embedding instead: `embedding:mental_averages_mode_0` then works in any prompt.

Adapters are in the output folder under `loras`.

- **Your model**: choose its checkpoint, its own size, and the defaults for training: 2000 steps at 0.0001. The values \
here suit the demo model.
- **Another mode**: its number in both *Select Mode* nodes.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, ((NOTE, "1", "2", "3", "4"),)),),
            (Group("2. Samples and their modes", OTHER, (("5", "7", "6"), ("11", "10", "8"))),),
            (Group("3. A word for it", OTHER, (("30", "32", "31"),)),),
            (Group("4. Its adapter", WORK, (("12", "14", "13", "15"),)),),
            (Group("5. What was measured", REPORTS, (("42", "43"),)),
             Group("6. Its average", WORK, (("18", "17"),))),
            (Group("7. Side by side", PICTURES, (("40", "41"),)),),
        ),
        widths={NOTE: 350, "41": 430},
        extra_heights={NOTE: 520, "12": 236, "30": 236, "41": 260, "43": 240},
        folded=frozenset({"14"}),
    ),
    "09_a_lora_and_an_average_for_every_kind": Layout(
        note="""## From a prompt to its modes

*Samples* draws the concept many times. *Clusters* sorts the pictures by what they show, and *An adapter and an \
average for each* trains an adapter on every mode's samples, and averages with it. Its sheet has one row per mode: its \
share, its average, its most typical pictures.

- **Your model**: choose its checkpoint, its own size in *How many samples*, an image encoder for its pictures (see \
template 06), and the paper's 2000 steps at 0.0001. The values here suit the demo model; large models have enough \
layers in `attention`.
- **One mode again**: a line in `overrides`, such as `1: steps=500`.
- **By what a question asks**: *Attribute Embed* of template 07 before *Clusters*.
- **No training**: choose `none` as adapter.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, ((NOTE, "1", "2", "3", "4"),)),),
            (Group("2. Samples", WORK, (("5", "6"),)), Group("3. Modes", OTHER, (("7", "8"),))),
            (Group("4. An average of each", WORK, (("12",),)),),
            (Group("5. Pictures", PICTURES, (("13", "9"),)),),
        ),
        widths={NOTE: 350, "12": 320, "13": 760},
        extra_heights={NOTE: 420, "9": 420, "12": 60, "13": 480},
    ),
    "12_family_tree_of_a_prompt": Layout(
        note="""## The family tree of a concept

What do the pictures of your prompt have in common? Type a concept into **Prompt** and press **Run**.

*Family tree* draws many samples and moves each to where the model's pictures lie most densely, at a low noise level \
first, and at higher ones after that: samples that end in one place are one **mode**, and modes merge as noise hides \
what tells them apart. In the *Tree* the highest noise level is on top; a branch is as wide as its share.

- **Your model**: choose its checkpoint, and its own size in *Size*. If all samples are one \
mode, choose later steps in the advanced `levels`; if each is its own, earlier ones.
- **Which level goes out**: `cut` asks for a number of modes, or for a row of the tree, and costs next to nothing.
- **Finer modes**: raise `count`.
- **It takes minutes**: the time left that is shown is about the most that it can be; flows that meet make it shorter.
- **An adapter for each mode**: *Align Modes* of template 09 takes `clusters` and `samples`.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, ((NOTE, "1", "2", "3", "4"),)),),
            (Group("2. The tree", WORK, (("5",),)), Group("4. One mode, and numbers", OTHER, (("8", "9", "11"),))),
            (Group("3. Pictures", PICTURES, (("6",), ("7", "10"))),),
        ),
        widths={NOTE: 360, "5": 300, "6": 760, "7": 560},
        extra_heights={NOTE: 540, "6": 800, "7": 440, "10": 300},
    ),
    "17_what_the_network_sees_and_has_by_heart": Layout(
        note="""## What the network sees in a picture

No image encoder here: the denoiser itself has to know what is in a picture to take noise off it. *What the network \
sees* adds noise to each picture, asks the network under an empty prompt, and keeps the mean of every channel of its \
middle block.

- *Pictures that lie together*: clusters of these means
- *Over the depth*: how many channels are active for a picture in each block
- *The ladder*: averages matched in the whole map, in 2 × 2 cells, and in channel means, which say little of where \
things stand
- *Beside pictures without a prompt*: spiky features may be learnt by heart; it is no proof
- *Same features, other noise*: pictures from the mean of all

**Your model**: choose its checkpoint, and its own size in *How many pictures*. **Your \
pictures**: *Load Image* and *VAE Encode* in the place of *Make pictures*.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, ((NOTE, "1", "2", "4", "3"),)),),
            (Group("2. Pictures, and what it sees", WORK, (("6", "7", "8", "9", "5"),)),),
            (Group("3. Clusters", OTHER, (("10",), ("11",))),
             Group("4. The pooling ladder", WORK, (("16", "17", "20", "19", "26"),
                                                   ("22", "18", "21", "23", "24", "25")))),
            (Group("5. Over the depth", OTHER, (("13", "15"), ("14",))),
             Group("6. By heart?", WORK, (("28",), ("29", "27", "30")))),
            (Group("7. From features to pictures", OTHER, (("33", "34", "31", "32"),)),),
        ),
        widths={NOTE: 350, "11": 330, "29": 340},
        extra_heights={NOTE: 450, "11": 260, "14": 260, "15": 20, "26": 240, "29": 260, "30": 20, "34": 240},
        folded=frozenset({"17", "20", "23", "27"}),
    ),
}
