"""How the templates of given pictures lie on the page."""
from __future__ import annotations

from layout import MODEL, NOTE, OTHER, PICTURES, REPORTS, WORK, Group, Layout

LAYOUTS: dict[str, Layout] = {
    "02_from_a_picture_to_its_noise_and_back": Layout(
        note="""## A picture to its noise and back

**DDIM Invert** finds the noise from which deterministic sampling makes a picture. **DDIM Sample** goes back. How well \
that works decides how good averages and morphs of pictures can be. *Report* says how much each step lost.

- **Your picture**: choose it in *Picture* and describe it in *What the pictures show*.
- **Your model**: choose its checkpoint, and its own size in *Size*.
- **Method**: `fixed_point` solves every step, `ddim` is the plain method, `exact` returns the latent itself, \
`null_text` is for a way back with guidance.

Group 4 does the same with **SamplerCustomAdvanced**: *DDIM Sampler* goes up along rising sigmas and down along \
falling ones.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, ((NOTE, "1", "2", "3"),)),),
            (Group("2. The picture", MODEL, (("4",), ("5", "6", "9"))),
             Group("4. As a custom sampler", OTHER, (("12", "15", "13", "14", "11"), ("18", "16", "17")))),
            (Group("3. To the noise and back", WORK, (("7", "10", "8"),)),),
            (Group("5. Pictures", PICTURES, (("20",), ("19",))),
             Group("6. What was measured", REPORTS, (("21", "24", "22"), ("23",)))),
        ),
        widths={NOTE: 350, "20": 480, "23": 480},
        extra_heights={NOTE: 520, "20": 480, "23": 360},
    ),
    "03_average_of_your_own_pictures": Layout(
        note="""## The average of four pictures

The pictures are inverted to their noise, the noise is averaged, and the average is sampled. The result is a sharp \
picture again, not a blend of pixels: of a woman, a man, a boy and a girl, a person between them.

1. **mean of their noise**: too short for noise, because what differs cancels
2. **fix**: scaled to the norm of ordinary noise
3. **fix/channel**: the mean of each channel is left as it is and only the rest is scaled

With four pictures the last two are close; template 05 shows what many do.

- **Your pictures**: choose them in *Picture 1* to *4* and describe them in *What the pictures show*.
- **Your model**: choose its checkpoint, and its own size in *Size*.
- **Lean towards one**: `weights` such as `0.7 0.1 0.1 0.1`.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, ((NOTE, "1", "2", "3"),)),),
            (Group("2. Pictures", MODEL, (("4", "6"), ("5", "7"))),
             Group("5. What their noise has in common", REPORTS, (("24",), ("26",)))),
            (Group("3. Their noise", WORK, (("8", "9", "10", "11"),)),),
            (Group("4. Three averages", OTHER, (("13", "14", "12"), ("20", "17", "18", "21", "19", "16", "15"))),),
            (Group("6. Pictures", PICTURES, (("23", "22", "25"),)),),
        ),
        widths={NOTE: 350, "23": 400},
        extra_heights={NOTE: 510, "22": 240, "23": 300},
        folded=frozenset({"17", "19"}),
    ),
    "04_morph_between_pictures": Layout(
        note="""## A morph through four pictures

The noise of four inverted pictures is mixed with rows of weights: one row, one picture. **Mixing Weights** writes the \
rows, along a path from each picture to the next or on a grid with the four at its corners. `restored_variance` makes \
the pictures themselves the ends of the morph, and keeps the norm of noise between them.

- **Your pictures**: choose them in *Picture 1* to *4*; the order is that of the path.
- **Your model**: choose its checkpoint, and its own size in *Size*.
- **More between**: `steps` of the path or `size` of the grid, and `columns` of *Labelled sheet* and *Lay out*.
- **A loop**: switch on `closed`.
- **cfg**: at 1 the ends come back exactly; more makes what is between them sharper.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, ((NOTE, "1", "2", "3"),)),),
            (Group("2. Pictures", MODEL, (("4", "6"), ("5", "7"))),
             Group("6. The path", PICTURES, (("17",),))),
            (Group("3. Their noise", WORK, (("8", "9", "10", "11"),)),),
            (Group("4. Along a path", OTHER, (("12", "13", "15", "14"),)),),
            (Group("5. On a grid", OTHER, (("18", "19", "20", "21", "22", "23"),)),),
            (Group("7. The grid", PICTURES, (("16", "24"),)),),
        ),
        widths={NOTE: 350, "24": 420},
        extra_heights={NOTE: 440, "17": 240, "24": 440},
        folded=frozenset({"20"}),
    ),
    "05_why_averages_of_many_pictures_fail": Layout(
        note="""## Why averages of many pictures degenerate

96 pictures are made, inverted, and averaged: the first 2, 8, 32, 48, 64 and 96 of them, a column each.

1. **fix**: scaled to the norm of noise. Differences cancel in the mean, a bias that all inversions share does not, \
and the scaling raises it with the number of pictures.
2. **fix, channel means kept**: the bias is not raised.
3. **nin, channel means kept**: with the norm of the inputs

The last row puts such a bias into the noise of one picture by hand.

The demo model's inversions have so much in common that the growth soon levels off: its rows look alike.

- **Your model**: choose its checkpoint, and its own size in *How many pictures*.
- **Another number**: change `batch_size` there and `counts` of *The first N pictures* together; on a \
card of 8 GB, 48 pictures and counts 2, 8, 32, 48.
""",
        groups=(
            (Group("1. Model and prompt", MODEL, ((NOTE, "1", "4", "2", "3"),)),),
            (Group("2. Pictures and noise", WORK, (("6", "7", "8", "5"),)),),
            (Group("3. Averages of the first N", OTHER, (("9", "10", "11"),
                                                         ("13", "16", "12", "15", "14", "17", "18"))),
             Group("4. A bias put in by hand", WORK, (("21", "19"), ("22", "20")))),
            (Group("5. The figure", PICTURES, (("23",), ("24",))),
             Group("6. What the noise has in common", REPORTS, (("25", "27"), ("26",)))),
        ),
        widths={NOTE: 350, "24": 600},
        extra_heights={NOTE: 530, "24": 480, "26": 380},
        folded=frozenset({"14", "17", "21"}),
    ),
    "19_change_what_a_picture_shows": Layout(
        note="""## One picture's codes, several prompts (CycleDiffusion)

**DDIM Invert** with `dpm_encoder` finds, for a picture, the noise of every step of stochastic sampling: its codes. \
With the prompt they were found for they give the picture back exactly. With another prompt, or another model, they \
give what that makes of the same noise: much of the layout and the colours stays. The sheet's last row has the same \
start and other noise.

- **Your picture**: choose it in *Picture* and describe it; what it is to become goes into *What it is to show*.
- **How much may change**: `denoise` 1 starts from nothing but noise.
- **Your model**: choose its checkpoint, and its own size in *Size*.
- **Another checkpoint** for *Another prompt*: with prompts by its own CLIP, and the same VAE.

Group 4 takes the same codes back with **SamplerCustomAdvanced**.
""",
        groups=(
            (Group("1. Model and prompts", MODEL, ((NOTE, "1", "2", "3", "4"),)),),
            (Group("2. The picture", MODEL, (("28", "7", "6", "5"),)),),
            (Group("3. Its codes, and back", WORK, (("8", "9", "10"), ("20", "11", "12", "21"))),
             Group("6. What was measured", REPORTS, (("26",), ("27",)))),
            (Group("4. As a custom sampler", OTHER, (("18", "19", "23", "17", "13", "15", "22", "16", "14"),)),),
            (Group("5. Pictures", PICTURES, (("25",), ("24",))),),
        ),
        widths={NOTE: 350, "25": 470},
        extra_heights={NOTE: 520, "25": 640},
        folded=frozenset({"12", "19"}),
    ),
}
