from dataclasses import replace

import families
import pytest
from families import FAMILY, LEVELS, SHAPE

from mental_averages.dma.execution import BatchSize
from mental_averages.dma.mean_shift import FamilyMonitor, family_tree

SETTINGS = replace(families.SETTINGS, samples=12)


@pytest.mark.parametrize("given", [False, True])
def test_progress_only_rises_and_says_what_is_done(given):
    told = []
    monitor = FamilyMonitor(told.append, SETTINGS, 12, 20, drawn=not given)
    family_tree(FAMILY, LEVELS, SHAPE, SETTINGS, seeking=FAMILY, averaging=FAMILY, batch=BatchSize(50),
                samples=FAMILY.samples(12)[0] if given else None, watchers=lambda part: [monitor.watch(part)])
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions) and fractions[0] < 0.1 and 0.3 < fractions[-1] <= 1
    messages = [progress.message for progress in told]
    assert ("sampling, step 1 of 20" in messages) != given
    assert any(message.startswith("level 1 of 3, move 1 of at most 30: 12 modes") for message in messages)
    assert messages[-1] == "averaging the modes"
    assert all(progress.preview.shape == (1, *SHAPE) and progress.seconds_left >= 0 for progress in told)
    assert all(progress.at_most for progress in told), "flows that meet end it early"
