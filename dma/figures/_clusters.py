"""Pictures of clusters, as image tensors (1, H, W, 3) in [0, 1]: contact sheet, scatter plot, BIC curve."""
from __future__ import annotations

import logging

from torch import Tensor

from ..clustering import Clusters
from ._sheet import captions_of_cut, cell_within, labelled_sheet
from ._style import drawn, new_figure

LEFT_OUT_COLOUR = "#b0b7c3"


def contact_sheet(images: Tensor, clusters: Clusters, *, cell: int = 96, columns: int = 12) -> Tensor:
    """One row for each cluster, the largest on top, with its share; the most typical picture first, left out ones
    below. Pictures are smaller than `cell` pixels where the sheet would have more than 2^27.

    Raises ValueError if there are not as many pictures (N, H, W, 3) as labels.
    """
    if len(images) != len(clusters.labels):
        raise ValueError(f"The clusters are of {len(clusters.labels)} pictures, but these are {len(images)}.")
    rows = list(clusters.members)
    captions = [f"mode {index}\n" + _share_text(clusters, index).replace(" (", "\n(") for index in range(len(rows))]
    if clusters.left_out:
        rows.append(clusters.left_out)
        captions.append(f"left out\n{len(clusters.left_out)} pictures")
    captions = captions_of_cut(captions, map(len, rows), columns)
    # Of the pictures that are shown alone, since all of a large batch would be copied.
    shown = [images[list(row[:columns])][..., :3] for row in rows]
    fitting = cell_within(shown, columns, cell)
    if fitting < cell:
        logging.info("The sheet shows pictures at a height of %d pixels instead of %d, since it would take too much "
                     "memory.", fitting, cell)
    return labelled_sheet(shown, captions, cell=fitting, columns=columns)


def scatter_plot(clusters: Clusters, *, width: int = 768) -> Tensor:
    """The pictures on the first two principal components, coloured by cluster; a ring marks the most typical of
    each."""
    figure = new_figure(width, 0.72)
    axes = figure.subplots()
    coordinates = clusters.coordinates.numpy()  # (N, d)
    across, up = coordinates[:, 0], coordinates[:, 1] if coordinates.shape[1] > 1 else coordinates[:, 0] * 0
    colours = _colours(len(clusters.members))
    for index, members in enumerate(clusters.members):
        rows = list(members)
        axes.scatter(across[rows], up[rows], s=18, color=colours[index], alpha=0.8, linewidths=0,
                     label=f"mode {index}: {_share_text(clusters, index)}")
        axes.scatter(across[rows[:1]], up[rows[:1]], s=90, facecolors="none", edgecolors=colours[index], linewidths=1.8)
    if clusters.left_out:
        rows = list(clusters.left_out)
        axes.scatter(across[rows], up[rows], s=18, color=LEFT_OUT_COLOUR, marker="x", label=f"left out: {len(rows)}")
    shares = [*clusters.explained_variance, 0.0]
    axes.set(xlabel=f"principal component 1 ({shares[0]:.0%} of the variance)",
             ylabel=f"principal component 2 ({shares[1]:.0%})")
    axes.legend(fontsize=8, loc="best", framealpha=0.8)
    return drawn(figure)


def bic_curve(clusters: Clusters, *, width: int = 768) -> Tensor:
    """BIC by number of components; the lowest is marked. One point if the number was fixed.

    Raises ValueError for clusters that are not those of a mixture.
    """
    if not clusters.bic:
        raise ValueError("These clusters have no BIC: no mixture was fitted to find them.")
    figure = new_figure(width, 0.72)
    axes = figure.subplots()
    counts, values = zip(*clusters.bic)
    best = values.index(min(values))
    axes.plot(counts, values, "o-", color="#30638e", markersize=5)
    axes.plot(counts[best], values[best], "o", color="#d1495b", markersize=10, fillstyle="none", markeredgewidth=2,
              label=f"{counts[best]} components, {len(clusters.members)} clusters kept")
    axes.set(xlabel="components of the mixture", ylabel="BIC (lower is better)", xticks=counts)
    axes.legend(fontsize=9)
    return drawn(figure)


def _share_text(clusters: Clusters, index: int) -> str:
    share = clusters.shares[index]
    return f"{share.count} of {len(clusters.labels)}, {share.share:.0%} ({share.low:.0%}-{share.high:.0%})"


def _colours(count: int) -> list:
    import matplotlib

    return [matplotlib.colormaps["tab20" if count > 10 else "tab10"](index % 20) for index in range(count)]
