from collections import defaultdict

import pytest
import torch
from memory import Memory, copied
from two_modes import LEVEL, LEVELS, MIXTURE, SETTINGS, SHAPE, TwoModes

from mental_averages.dma.alignment import Ensemble, MixtureMonitor, State, align_mixture
from mental_averages.dma.alignment._mixture_features import Reading
from mental_averages.dma.alignment._mixture_state import Exploration, MixtureState, explore
from mental_averages.dma.diffusion import Parametrization, initial_latent, sample, starting_noise
from mental_averages.dma.execution import BatchSize, Checkpoint, drive


@pytest.mark.parametrize("stop_after", [12, 30, 60, 68])
def test_gone_on_with_after_an_interrupt_it_ends_the_same(stop_after):
    arguments = (LEVELS, SHAPE, SETTINGS, MIXTURE, LEVEL)
    parts, heard = defaultdict(Memory), []

    def average(denoiser, tell, *, saving=True):
        monitor = MixtureMonitor(tell, SETTINGS, LEVELS, MIXTURE, LEVEL)
        if not saving:
            return align_mixture(denoiser, *arguments, batch=BatchSize(8), watchers=[monitor])
        return align_mixture(denoiser, *arguments, batch=BatchSize(8),
                             watchers=[Checkpoint(parts.__getitem__, seconds=-1), monitor],
                             restored=lambda part: parts[part].load())

    def interrupt(event):
        heard.append(event.fraction)
        if len(heard) == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        average(TwoModes(), interrupt)
    assert heard == sorted(heard) and heard[-1] < 1
    rest = []
    resumed = average(TwoModes(), lambda event: rest.append(event.fraction))
    whole = []  # one event per batch of predictions, of a mean and of a match
    reference = average(TwoModes(), lambda event: whole.append(event.fraction), saving=False)
    assert all(torch.equal(*pair) for pair in zip(resumed.latents, reference.latents))
    assert torch.equal(resumed.samples, reference.samples)
    assert len(rest) < len(whole) and whole == sorted(whole) and whole[-1] == pytest.approx(1)
    # All of it is saved at the end: once more is no work for the model.
    again = TwoModes()
    average(again, rest.append)
    assert again.feature_rows == 0


@pytest.mark.parametrize("stop_after", [1, 3, 5, -1, -5])
def test_features_of_given_samples_and_of_averages_are_told_of_and_not_read_again(stop_after):
    samples, parts = starting_noise(40, SHAPE, 5), defaultdict(Memory)

    def average(denoiser, watchers, restored=lambda part: parts[part].load()):
        return align_mixture(denoiser, LEVELS, SHAPE, SETTINGS, MIXTURE, LEVEL, samples=samples, batch=BatchSize(8),
                             watchers=watchers, restored=restored)

    rows, denoiser = [], TwoModes()
    reference = average(denoiser, [lambda event, state: rows.append((event, state.part, denoiser.feature_rows))],
                        restored=lambda part: None)
    assert [event.row for event, part, _ in rows if (event.kind, part) == ("read", "samples")] == [8, 16, 24, 32, 40]
    assert [event.row for event, part, _ in rows if (event.kind, part) == ("read", "distances")] == [
        8, 16, 24, 32, 40, 44]
    heard = []

    def interrupt(event, state):
        heard.append(event)
        if len(heard) == stop_after % (len(rows) + 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        average(TwoModes(), [Checkpoint(parts.__getitem__), interrupt])
    resumed = TwoModes()
    found = average(resumed, [])
    assert all(torch.equal(*pair) for pair in zip(found.latents, reference.latents))
    assert [mode.distances for mode in found.report.modes] == [mode.distances for mode in reference.report.modes]
    assert resumed.feature_rows == denoiser.feature_rows - rows[len(heard) - 1][2], "nothing is read twice"


def test_distances_of_other_modes_are_not_gone_on_with():
    saved = Reading(torch.zeros(44, 40), 44, 1.0).packed()
    state = MixtureState(lambda part: (saved[0], {**saved[1], "members": [[0, 3], [1, 2]]}))
    state.measure([(3, 0), (2, 1)])
    assert state.part == "distances" and state.current.read == 44 and state.seconds == 1.0
    assert state.packed()[1]["members"] == [[0, 3], [1, 2]]
    state.measure([(1, 2), (3, 0)])
    assert state.current.read == 0


def explored(state, level=3):
    drive(explore(TwoModes(), LEVELS.tolist(), level, BatchSize(3), state), state)
    return state.explored()


def started():
    return Exploration.from_noise(TwoModes(), LEVELS[0].item(), 7, SHAPE, 5)


def test_exploring_is_plain_sampling_and_sees_the_latents_on_the_way():
    found = explored(started())
    x = initial_latent(Parametrization.EPS, starting_noise(7, SHAPE, 5), LEVELS[0].item())
    at_level = sample(TwoModes(), x, LEVELS[:4])
    torch.testing.assert_close(found.latents, at_level)
    torch.testing.assert_close(found.features, TwoModes().features(at_level, LEVELS[3].item()))
    torch.testing.assert_close(found.samples, sample(TwoModes(), x, LEVELS))


def test_samples_come_back_from_a_file_as_they_were_before_and_after_the_level():
    expected, state, packed = explored(started()), started(), []
    packed.append(copied(*state.packed()))
    drive(explore(TwoModes(), LEVELS.tolist(), 3, BatchSize(3), state), state,
          [lambda event, state: packed.append(copied(*state.packed())) if event.changed else None])
    assert [set(tensors) for tensors, _ in packed] == (
        4 * [{"latents"}] + 3 * [{"latents", "features"}] + 7 * [{"latents", "at_level", "features"}])
    assert [meta["read"] for _, meta in packed] == 4 * [0] + [3, 6] + 8 * [7]
    for step, save in zip([0, 1, 2, 3, 3, 3, *range(3, 11)], packed, strict=True):
        state = Exploration.unpacked(*copied(*save))
        assert state.step == step and copied(*state.packed())[1] == save[1]
        found = explored(state)
        assert all(torch.equal(getattr(found, name), getattr(expected, name))
                   for name in ("samples", "latents", "features"))


def test_each_part_has_a_state_and_a_place_of_its_own():
    tensors, meta = State(7, step=2).packed()
    parts, asked = {"samples": None, "mode 0": None, "mode 1": (tensors, {**meta, "members": [0, 1]})}, []
    state = MixtureState(lambda part: (asked.append(part), parts[part])[1])
    assert state.part == "samples"
    new = started()
    state.explore(lambda: new)
    assert state.exploration is state.current is new
    state.seconds += 2.0
    state.pace["predict"] = [2.0, 7.0]
    assert (new.seconds, new.pace) == (2.0, {"predict": [2.0, 7.0]})
    assert state.packed()[1] == {"step": 0, "read": 0, "seconds": 2.0, "pace": {"predict": [2.0, 7.0]}}

    ensemble = Ensemble(torch.zeros(7, *SHAPE), torch.ones(7), (1, 0))
    state.align(0, ensemble)
    assert state.part == "mode 0" and state.ensemble is ensemble
    assert (state.current.count, state.current.step, state.current.latents) == (7, 0, None)
    assert state.seconds == 0 and state.pace == {} and state.exploration.seconds == 2.0
    state.align(1, ensemble)
    assert state.part == "mode 1" and state.current.step == 2, "gone on with where it was"
    assert asked == ["samples", "mode 0", "mode 1"] and state.packed()[1] == parts["mode 1"][1]


def test_the_average_of_another_mode_is_not_gone_on_with():
    """Modes of nearly the same size trade places as soon as one sample changes sides."""
    arguments, parts = (LEVELS, SHAPE, SETTINGS, MIXTURE, LEVEL), defaultdict(Memory)
    reference = align_mixture(TwoModes(), *arguments, watchers=[Checkpoint(parts.__getitem__, seconds=-1)])
    parts["mode 0"], parts["mode 1"] = parts["mode 1"], parts["mode 0"]
    found = align_mixture(TwoModes(), *arguments, restored=lambda part: parts[part].load())
    assert all(torch.equal(*pair) for pair in zip(found.latents, reference.latents))
    assert not torch.allclose(*reference.latents) and found.report.in_own_mode == 2


@pytest.mark.parametrize("members", [None, [0, 2], [0]])
def test_what_was_saved_of_other_members_is_not_gone_on_with(members):
    tensors, meta = State(7, step=2).packed()
    state = MixtureState(lambda part: (tensors, meta if members is None else {**meta, "members": members}))
    state.align(0, Ensemble(torch.zeros(7, *SHAPE), torch.ones(7), (0, 1)))
    assert state.current.step == 0


def test_samples_that_were_saved_are_not_drawn_again():
    saved = started()
    saved.step = 4
    state = MixtureState(lambda part: copied(*saved.packed()))
    state.explore(lambda: pytest.fail("they were drawn"))
    assert state.current.step == 4 and torch.equal(state.exploration.latents, saved.latents)
