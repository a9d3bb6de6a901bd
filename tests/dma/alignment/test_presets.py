import dataclasses

import pytest
from toys import LinearGaussian, sigmas

from mental_averages.dma.alignment import PRESETS, AlignmentSettings, align
from mental_averages.dma.solvers import Adam


def test_paper_is_the_paper():
    """arXiv 2603.29239: 10 aligned steps, Adam at 2e-2, 300 iterations, all latents from their own noise, no early
    stop."""
    settings = PRESETS["paper"].apply(AlignmentSettings(count=1000, seed=5, keep=2, carried=3, own_noise=0.5), steps=20)
    assert settings == AlignmentSettings(count=1000, seed=5, keep=2, aligned_steps=10, solver=Adam(2e-2, 300, 0.0),
                                         carried=0)
    assert settings.solver.plateau == 0


@pytest.mark.parametrize("name", PRESETS)
def test_presets_leave_alone_what_is_averaged_and_fit_every_schedule(name):
    before = AlignmentSettings(count=7, seed=3, keep=2, restored_noise=0.25)
    for steps in (1, 3, 50):
        after = PRESETS[name].apply(before, steps)
        after.check(steps)
        unchanged = ({field.name for field in dataclasses.fields(before)}
                     - {field.name for field in dataclasses.fields(PRESETS[name])})
        assert all(getattr(after, field) == getattr(before, field) for field in unchanged)
        assert {"count", "seed", "keep", "restored_noise"} <= unchanged


def test_presets_are_ordered_by_effort():
    rows = {}
    for name, preset in PRESETS.items():
        denoiser = LinearGaussian()
        align(denoiser, sigmas(12), (2, 3, 3), preset.apply(AlignmentSettings(count=64, keep=1), 12))
        rows[name] = denoiser.feature_rows
    assert rows["draft"] <= rows["standard"] < rows["paper"] / 100
