"""How the example workflows lie on ComfyUI's page: their notes, and where their nodes stand (see page_workflow.py)."""

from __future__ import annotations

from dataclasses import dataclass, field

NOTE = "note"
PREVIEW = 240


@dataclass(frozen=True)
class Group:
    """A coloured frame with columns of nodes, left to right; a column lists node ids from top to bottom."""

    title: str
    colour: str
    columns: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Layout:
    """How a workflow lies on the page: its note, its groups (columns of them, left to right), and what is wider or
    taller than usual."""

    note: str
    groups: tuple[tuple[Group, ...], ...]
    widths: dict[str, int] = field(default_factory=dict)
    extra_heights: dict[str, int] = field(default_factory=dict)
    width: int = 320


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
6. **mental average**: many trajectories pulled to their mean in the model's semantic space. Several are finished; that they look alike is the check.

- **More trajectories**: raise `count` of *Align trajectories* (and `batch_size` of *Size* for more plain samples).
- **A better match**: raise `aligned_steps` and `iterations`. The paper uses count 1000, 10 aligned steps, 300 iterations and cfg 7, which takes hours.
- **Another model**: choose its checkpoint, and its own resolution in *Size*.
- **Another seed**: the seeds of *Plain samples* and *Align trajectories* stay equal, so that both start from the same noise.

An interrupted run goes on where it stopped when you press Run again. What was measured on the way is saved as JSON; \
*Load Report* also reads the file of an earlier run.
""",
        groups=(
            (Group("1. Model and prompt", "#3f789e", (("1", "2", "3", "4", NOTE),)),),
            (Group("2. Plain samples and their averages", "#8a6d3b", (("5", "13"), ("6", "8", "9", "14"), ("7", "11", "12"))),
             Group("3. The mental average", "#88557a", (("10",), ("15",), ("16",)))),
            (Group("4. Pictures", "#4a7a4a", (("17", "18"), ("19",))),
             Group("5. What was measured: saved, read back, plotted", "#5f6b7a", (("20", "21", "22"), ("23",)))),
        ),
        widths={NOTE: 440, "18": 700, "19": 400, "20": 340, "23": 760},
        # Room for the note, for the pictures, and for the previews under nodes that sample.
        extra_heights={NOTE: 560, "5": PREVIEW, "13": PREVIEW, "15": PREVIEW, "18": 640, "19": 380, "23": 500},
    ),
}
