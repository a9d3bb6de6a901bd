"""Embeddings of pictures that look at one attribute: states of a BLIP-VQA that answers a question, or scores of
prompts.

The grounded clusters of arXiv 2603.29239 use an "attribute-focused embedding" of BLIP-VQA. Which state that is has not
been published, so the candidates stand here under one name each.
"""
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from torch import Tensor

from ..records import json_text
from ..statistics import wilson_interval


@dataclass(frozen=True, eq=False)
class AttributeEmbeddings:
    """One row for each of N pictures, the answer (or best prompt) of each, and how they were made."""

    FORMAT = "mental-averages/attribute-embeddings"
    VERSION = 1

    values: Tensor  # (N, D), fp32 on the CPU
    answers: tuple[str, ...]
    settings: dict

    def counts(self) -> list[tuple[str, int]]:
        """The different answers with their number, most frequent first, then in alphabetical order."""
        return sorted(Counter(self.answers).items(), key=lambda item: (-item[1], item[0]))

    def table(self) -> str:
        """One line for each different answer: number, share of the pictures, its 95 % interval, answer."""
        lines = []
        for answer, count in self.counts():
            low, high = wilson_interval(count, len(self.answers))
            lines.append(f"{count:5d}  {count / len(self.answers):.3f} ({low:.3f}-{high:.3f})  "
                         f"{answer or '(no answer)'}")
        return "\n".join(lines)

    def to_json(self) -> str:
        return json_text(self.FORMAT, self.VERSION, {"settings": self.settings, "counts": dict(self.counts()),
                                                     "answers": list(self.answers)}, ascii_only=False)
