"""How alike a model's samples of some prompts are: a typed record that saves to JSON."""
from __future__ import annotations

from dataclasses import dataclass, field

from ..records import Record


@dataclass(frozen=True)
class PromptSameness:
    """The mean cosine similarity of two samples of a prompt, and its 95 % interval."""

    prompt: str
    sameness: float
    low: float
    high: float


@dataclass(frozen=True)
class SamenessReport(Record):
    """The settings, what was measured for each prompt, in their order, and the seconds it took."""

    FORMAT = "mental-averages/sameness-report"
    NAME = "a report of the sameness of samples"

    settings: dict
    prompts: list[PromptSameness] = field(default_factory=list)
    seconds: float = 0.0

    def check(self) -> None:
        for found in self.prompts:
            if not found.low <= found.sameness <= found.high:
                raise ValueError(f"the sameness of {found.prompt!r} is outside its interval")
