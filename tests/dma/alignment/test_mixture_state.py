from collections import defaultdict

import pytest
import torch
from memory import Memory, copied
from two_modes import LEVEL, LEVELS, MIXTURE, SETTINGS, SHAPE, TwoModes

from mental_averages.dma.alignment import Ensemble, MixtureMonitor, State, align_mixture
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
    assert again.feature_rows == 40 + 4, "nothing but where the averages are is measured again"


def read(denoiser, latents, sigma, batch):
    return denoiser.features(latents, sigma)


def explored(state, level=3):
    drive(explore(TwoModes(), LEVELS.tolist(), level, BatchSize(3), state, read), state)
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
    drive(explore(TwoModes(), LEVELS.tolist(), 3, BatchSize(3), state, read), state,
          [lambda event, state: packed.append(copied(*state.packed())) if event.changed else None])
    assert len(packed) == 11 and [set(tensors) for tensors, _ in packed] == (
        4 * [{"latents"}] + 7 * [{"latents", "at_level", "features"}])
    for step, save in enumerate(packed):
        state = Exploration.unpacked(*copied(*save))
        assert state.step == step and copied(*state.packed())[1] == save[1]
        found = explored(state)
        assert all(torch.equal(getattr(found, name), getattr(expected, name))
                   for name in ("samples", "latents", "features"))


def test_each_part_has_a_state_and_a_place_of_its_own():
    parts, asked = {"samples": None, "mode 0": None, "mode 1": State(7, step=2).packed()}, []
    state = MixtureState(lambda part: (asked.append(part), parts[part])[1])
    assert state.part == "samples"
    new = started()
    state.explore(lambda: new)
    assert state.exploration is state.current is new
    state.seconds += 2.0
    state.pace["predict"] = [2.0, 7.0]
    assert (new.seconds, new.pace) == (2.0, {"predict": [2.0, 7.0]})
    assert state.packed()[1] == {"step": 0, "seconds": 2.0, "pace": {"predict": [2.0, 7.0]}}

    ensemble = Ensemble(torch.zeros(7, *SHAPE), torch.ones(7), (0, 1))
    state.align(0, ensemble)
    assert state.part == "mode 0" and state.ensemble is ensemble
    assert (state.current.count, state.current.step, state.current.latents) == (7, 0, None)
    assert state.seconds == 0 and state.pace == {} and state.exploration.seconds == 2.0
    state.align(1, ensemble)
    assert state.part == "mode 1" and state.current.step == 2, "gone on with where it was"
    assert asked == ["samples", "mode 0", "mode 1"]


def test_samples_that_were_saved_are_not_drawn_again():
    saved = started()
    saved.step = 4
    state = MixtureState(lambda part: copied(*saved.packed()))
    state.explore(lambda: pytest.fail("they were drawn"))
    assert state.current.step == 4 and torch.equal(state.exploration.latents, saved.latents)
