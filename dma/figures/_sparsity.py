"""The plot of sparsity over blocks and noise levels, as an image tensor (1, H, W, 3) in [0, 1]."""
from __future__ import annotations

import numpy as np
from torch import Tensor

from ..representation import SparsityReport
from ._style import drawn, new_figure

MOST_NAMES = 30
BY_CHANCE = 0.01


def plot_sparsity(report: SparsityReport, *, width: int = 1024) -> Tensor:
    """Participation of channel means, of their differences between pictures, and the share of specialised channels,
    over the depth of the network, a line for each noise level.

    Raises ValueError for a report without blocks.
    """
    import matplotlib

    if not report.blocks:
        raise ValueError("This report of sparsity has no blocks.")
    figure = new_figure(width, 0.9)
    active, apart, special = figure.subplots(3, 1, sharex=True)
    depth, sigmas = np.arange(len(report.blocks)), report.settings["sigmas"]
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(sigmas)))
    for number, (sigma, colour) in enumerate(zip(sigmas, colours)):
        def column(name: str, number: int = number) -> np.ndarray:
            # Null becomes NaN.
            return np.array([getattr(block, name)[number] for block in report.blocks], float)

        shown = dict(color=colour, markersize=3.5, linewidth=1, label=rf"$\sigma$ = {sigma:.3g}")
        active.errorbar(depth, column("participation"), column("error"), fmt="o-", elinewidth=0.8, **shown)
        for axes, name in ((apart, "differences"), (special, "specialised")):
            axes.plot(depth, column(name), "o-", **shown)
    special.axhline(BY_CHANCE, color="#999999", linewidth=0.8, linestyle="--")
    active.set(title="participation ratio of channel means (1: all channels alike, near 0: sparse)")
    apart.set(title="the same of what differs between pictures")
    special.set(title="share of specialised channels (heavy tails over pictures; dashed: by chance)")
    if all(value is None for block in report.blocks for value in block.specialised):
        special.text(0.5, 0.5, "too few pictures", transform=special.transAxes, ha="center")
    for axes in (active, apart, special):
        axes.set_ylim(bottom=0)
    active.legend(fontsize=8)
    every = -(-len(report.blocks) // MOST_NAMES)  # more names than that cannot be read
    special.set_xticks(depth[::every], [block.name for block in report.blocks][::every], rotation=90)
    return drawn(figure)
