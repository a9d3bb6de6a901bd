"""The family tree of a concept as a dendrogram of pictures, and its modes at one level as a sheet."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..clustering import Clusters
from ..mean_shift import MOST_LEAVES, ModeTreeReport
from ._branches import Branch, draw_branches
from ._lettering import Lettering, writable
from ._sheet import labelled_sheet, scaled
from ._style import COLOURS

EDGE, GAP = 16, 12  # around the tree, and between pictures
LARGEST, DISC, BRANCH = 132, 56, 64  # pixels at 1024: sides of a picture and of a disc, height of a branch
PALETTE = (*COLOURS, "#9a8c3c", "#c26a9b", "#4d7ea8", "#a5603b")

Pictures = Mapping[tuple[int, int], Tensor]  # (H, W, C) by level, from the lowest noise, and mode


def mode_tree(report: ModeTreeReport, pictures: Pictures, *, width: int = 1024, most: int = MOST_LEAVES,
              title: str = "") -> Tensor:
    """The tree, the highest noise level on top, `width` pixels wide: (1, H, W, 3) in [0, 1].

    A mode is its picture, or a disc of its share's size where it has none; below it its share of the samples. A branch
    is as wide as the share that it carries, and has the colour of its largest leaf. There are `most` leaves, of the
    largest modes whatever their level (`ModeTreeReport.shown`); what is not drawn is counted beside each level.

    Raises ValueError for a tree without levels.
    """
    from PIL import Image, ImageDraw

    if not report.levels:
        raise ValueError("This family tree has no levels.")
    plan = _Plan(report, width, most, LARGEST if pictures else DISC)
    large = Lettering(round(width / 1024 * 20))
    heading = large.wrapped(writable(title), width - 2 * EDGE)
    top = EDGE + (len(heading) * large.height + GAP if title else 0)
    note = plan.small.wrapped(plan.note(pictured=bool(pictures)), width - 2 * EDGE)
    height = top + plan.height + len(note) * plan.small.height + EDGE
    sheet = Image.new("RGB", (width, height), "white")
    draw_branches(sheet, [branch.moved(top) for branch in plan.branches()])
    draw = ImageDraw.Draw(sheet)
    large.draw(draw, EDGE, EDGE, heading)
    for number in range(len(report.levels)):
        above = top + plan.tops[number]
        plan.label(draw, number, above)
        for mode in plan.shown[number]:
            _draw_mode(sheet, draw, plan, number, mode, above, pictures.get((number, mode)))
    plan.small.draw(draw, EDGE, top + plan.height, note)
    return torch.from_numpy(np.asarray(sheet).copy()).float()[None] / 255


def plot_mode_tree(report: ModeTreeReport, *, width: int = 1024) -> Tensor:
    """The tree without pictures: discs as large as shares, joined by branches (1, H, W, 3)."""
    return mode_tree(report, {}, width=width)


def mode_sheet(averages: Tensor, samples: Sequence[Tensor], clusters: Clusters, *, cell: int = 128, columns: int = 8,
               title: str = "") -> Tensor:
    """A row for each average (M, H, W, C): the average, then the most typical samples of its mode, (n, H, W, C) each.

    The caption says the mode's share of all samples with its interval. Modes beyond those that have an average are
    counted in the last caption.
    """
    rows, captions = [], []
    total = len(clusters.labels)
    for mode, (average, members) in enumerate(zip(averages, samples)):
        share = clusters.shares[mode]
        rows.append(torch.cat([average[None, ..., :3], members[: columns - 1, ..., :3].to(average)]))
        captions.append(f"mode {mode}\n{share.share:.0%} of {total}\n({share.low:.0%} to {share.high:.0%})")
    others = clusters.shares[len(rows):]
    if others:
        captions[-1] += f"\n{len(others)} smaller modes with {sum(share.count for share in others)} samples not shown"
    return labelled_sheet(rows, captions, title=title, cell=cell, columns=columns)


class _Plan:
    """Where everything of a tree stands, in pixels from its own top."""

    def __init__(self, report: ModeTreeReport, width: int, most: int, largest: int):
        unit = width / 1024
        self.report, self.shown = report, report.shown(most)
        self.small, self.text = Lettering(max(9, round(11 * unit))), Lettering(max(10, round(14 * unit)))
        labels = [line for number in range(len(report.levels)) for line in self.label_lines(number)]
        self.left = EDGE + max(int(self.small.width(line)) for line in labels) + 2 * GAP
        leaves = len(self.shown[0])
        column = (width - self.left - EDGE) / leaves
        # A few leaves would be far apart on the whole width.
        column = min(column, 1.6 * LARGEST * unit)
        self.side = max(8, int(min(largest * unit, column - GAP * min(1.0, unit))))
        start = self.left + (width - self.left - EDGE - column * leaves) / 2
        self.across = [{} for _ in report.levels]  # by level and mode the middle of its picture
        for place, mode in enumerate(self.shown[0]):
            self.across[0][mode] = start + (place + 0.5) * column
        for number in range(len(report.levels) - 1):
            for mode in self.shown[number + 1]:
                parts = [(report.levels[number].modes[part].count, self.across[number][part])
                         for part in self.shown[number] if report.parent_of(report.levels[number], part) == mode]
                # Above where most of it is, so that wide branches are straight.
                self.across[number + 1][mode] = (sum(count * across for count, across in parts)
                                                 / sum(count for count, _ in parts))
        self.caption = self.text.height + self.small.height + 4
        branch = round(BRANCH * unit)
        self.row = max(self.side + self.caption, max(len(self.label_lines(number)) for number in range(
            len(report.levels))) * self.small.height)
        count = len(report.levels)
        self.tops = [(count - 1 - number) * (self.row + branch) for number in range(count)]
        self.height = count * self.row + (count - 1) * branch + GAP
        self.colours = self._colours()

    def _colours(self) -> list[dict[int, str]]:
        """By level and mode the colour of its largest leaf; leaves have colours by their place."""
        leaves = {mode: PALETTE[place % len(PALETTE)] for place, mode in enumerate(self.shown[0])}
        found = [leaves]
        for number in range(len(self.report.levels) - 1):
            level = self.report.levels[number]
            # The largest part comes first among its siblings.
            found.append({})
            for part in sorted(self.shown[number], key=lambda mode: (-level.modes[mode].count, mode)):
                found[-1].setdefault(self.report.parent_of(level, part), found[number][part])
        return found

    def branches(self) -> list[Branch]:
        found = []
        for number in range(len(self.report.levels) - 1):
            level, begun = self.report.levels[number], {}
            for mode in self.shown[number]:
                parent = self.report.parent_of(level, mode)
                wide = max(2.0, level.modes[mode].share * self.side)
                begun.setdefault(parent, []).append((mode, wide))
            for parent, parts in begun.items():
                start = self.across[number + 1][parent] - sum(wide for _, wide in parts) / 2
                for mode, wide in parts:
                    found.append(Branch(start + wide / 2, self.tops[number + 1] + self.row, self.across[number][mode],
                                        self.tops[number], wide, self.colours[number][mode]))
                    start += wide
        return found

    def label_lines(self, number: int) -> list[str]:
        level, drawn = self.report.levels[number], len(self.shown[number])
        lines = [f"level {len(self.report.levels) - number}", f"noise {level.sigma:.3g}", _counted(drawn, "mode")]
        modes, samples = self.report.hidden(number, self.shown[number])
        return [*lines, f"and {modes} more", f"of {_counted(samples, 'sample')}"] if modes else lines

    def label(self, draw: Any, number: int, above: float) -> None:
        lines = self.label_lines(number)
        self.small.draw(draw, EDGE, above + (self.row - len(lines) * self.small.height) / 2, lines)

    def note(self, *, pictured: bool) -> str:
        levels = self.report.levels
        text = (f"{len(levels[0].labels)} samples. Branches are as wide as the share of the samples that they carry; "
                "below each mode its share with its 95 % interval.")
        if pictured and any(levels[number].modes[mode].count == 1 for number, modes in enumerate(self.shown)
                            for mode in modes):
            text += " A mode of one sample that has no average is shown by that sample."
        if any(self.report.hidden(number, modes)[0] for number, modes in enumerate(self.shown)):
            text += " Modes that are not drawn are counted beside their level."
        return text


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count > 1 else ''}"


def _draw_mode(sheet: Any, draw: Any, plan: _Plan, number: int, mode: int, above: int, picture: Tensor | None) -> None:
    record, middle = plan.report.levels[number].modes[mode], plan.across[number][mode]
    colour = plan.colours[number][mode]
    if picture is None:
        radius = max(3.0, plan.side / 2 * record.share**0.5)
        draw.ellipse((middle - radius, above, middle + radius, above + 2 * radius), fill=colour)
    else:
        small = scaled(picture, plan.side)
        small.thumbnail((plan.side, plan.side))
        left, upper = round(middle - small.width / 2), above + (plan.side - small.height) // 2
        draw.rectangle((left - 2, upper - 2, left + small.width + 1, upper + small.height + 1), fill=colour)
        sheet.paste(small, (left, upper))
    for lettering, line, down in ((plan.text, f"{record.share:.0%}", 2),
                                  (plan.small, f"{record.low:.0%} to {record.high:.0%}", 2 + plan.text.height)):
        lettering.draw(draw, middle - lettering.width(line) / 2, above + plan.side + down, [line])
