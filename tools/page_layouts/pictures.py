"""How the templates of given pictures lie on the page."""
from __future__ import annotations

from layout import MODEL, NOTE, OTHER, PICTURES, PREVIEW, REPORTS, WORK, Group, Layout

LAYOUTS: dict[str, Layout] = {
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
    "19_cycle_diffusion": Layout(
        note="""## One picture's codes, several prompts (CycleDiffusion)

Stochastic sampling draws new noise at every step. **DDIM Invert** with `dpm_encoder` finds, for a picture, the noise \
of every step: its codes. With the prompt they were found for they give the picture back exactly. With another prompt, \
or another model, they give what that prompt or model makes of the same noise: much of the layout and the colours stays.

The sheet shows the picture, what encoding and decoding alone make of it, its codes with the same prompt (which give \
exactly that), with another one at two guidance scales, and for \
comparison the other prompt from the same noise level with noise that knows nothing of the picture's details.

- **Your picture**: choose it in *Picture* and describe it in *What the picture shows*; what it is to become goes into \
*What it is to show*.
- **How much may change**: `denoise` 1 starts from nothing but noise, smaller values keep more of the picture.
- **Another checkpoint**: load it in a loader of its own, write both of its prompts with its own CLIP, and connect it \
to *Another prompt*. It has to take the same latents (the same VAE) and the same kind of prediction.
- **Another model's picture size**: set *Size* to it; 64 × 64 is the small demo model's.
- The codes travel in the trajectory. Its latent alone is ordinary noise: nodes that mix or average latents refuse it.

Group 3 takes the same codes back with **SamplerCustomAdvanced**, in graphs with guiders of their own.
""",
        groups=(
            (Group("1. Model and picture", MODEL, (("1", "2", "3", "4", NOTE), ("5", "6", "7"))),),
            (Group("2. Its codes, and back with any prompt", WORK, (("8", "9"), ("10",), ("11", "12"),
                                                                    ("28", "20", "21"))),
             Group("3. The same as a custom sampler", OTHER, (("13", "14"), ("15", "17", "18"), ("16", "19"),
                                                               ("22", "23")))),
            (Group("4. Pictures", PICTURES, (("24",), ("25",))),
             Group("5. What was measured", REPORTS, (("26",), ("27",)))),
        ),
        widths={NOTE: 440, "25": 400, "27": 760},
        extra_heights={NOTE: 680, "5": PREVIEW, "11": PREVIEW, "12": PREVIEW, "16": PREVIEW, "19": PREVIEW, "25": 640,
                       "27": 500},
    ),
}
