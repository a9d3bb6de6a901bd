"""A probe of layers of which one sees the prompt."""
import dataclasses

import pytest
import torch
from memory import Memory, copied
from toys import LinearGaussian, sigmas

from mental_averages.dma import hspace
from mental_averages.dma.diffusion import starting_noise
from mental_averages.dma.execution import BatchSize, Progress, drive
from mental_averages.dma.hspace import (
    Probe,
    ProbeMonitor,
    ProbeSettings,
    ProbeState,
    layer_report,
    probe_report,
    read_prompt,
)


class TwoLayers(LinearGaussian):
    """Features that are linear in the latent, with something of the prompt added at the layer "seeing" alone."""

    def __init__(self, prompt, layer="blind"):
        super().__init__()
        self.prompt, self.layer = prompt, layer

    def at(self, layer):
        return TwoLayers(self.prompt, layer)

    def features(self, x, sigma):
        shift = 3.0 * self.prompt * torch.linspace(-1, 1, 40) if self.layer == "seeing" else 0.0
        return super().features(x, sigma) + shift

    def all_features(self, x, sigma, layers, reduced):
        return {layer: reduced(layer, self.at(layer).features(x, sigma)) for layer in layers}


def probed(settings, batch=4, prompts=3):
    heard, layers = [], ["blind", "seeing"]
    probe = Probe(tuple(layers), tuple(sigmas().tolist()), (2, 3, 3), prompts, settings)
    state = ProbeState()
    for prompt in range(prompts):
        drive(read_prompt(TwoLayers(prompt), probe, state, batch=BatchSize(batch)), state,
              [lambda event, state: heard.append(event.amount)])
    assert sum(heard) == prompts * settings.work(2), "the progress bar ends full"
    grams = torch.stack([torch.stack([hspace.gram(state.readings[f"rows {step} {layer}"]) for layer in layers])
                         for step in settings.steps])
    before, after = (state.readings[name].movedim(0, 2) for name in ("before", "after"))
    index = torch.tensor([settings.matched_latents(prompt) for prompt in range(prompts)])
    return grams, hspace.LayerMatching(before.double(), after.double(), index), layers


def test_probe_finds_the_layer_that_sees_the_prompt_and_matches_linear_features():
    settings = ProbeSettings(samples=5, steps=(0, 3), matched=2, iterations=12)
    grams, matching, layers = probed(settings)
    assert grams.shape == (2, 2, 3, 5, 3, 5)
    found = hspace.spread(grams)
    shift = 9 * torch.linspace(-1, 1, 40).square().sum().item()  # prompts 0, 1, 2 have the variance 1 in units of it
    assert (found.between[:, 1].tolist() == pytest.approx([shift] * 2, rel=0.2)
            and found.between[0, 0].abs() < 0.1 * shift)
    # The mean of linear features is the features of the mean, so that all of it can be reached.
    assert matching.left(list(range(5))).max() < 1e-3
    report = layer_report({"sigmas": [10.0, 3.0]}, layers, grams, matching, 1.5)
    assert report.chosen == "seeing" and report.runner_up == "blind" and report.margin > 0.5 and report.seconds == 1.5
    one_by_one, _, _ = probed(settings, batch=1)
    torch.testing.assert_close(one_by_one, grams, rtol=1e-4, atol=1e-4)


def test_settings_that_make_no_sense_are_refused():
    ProbeSettings().check(20)
    for change, message in ((dict(samples=3), "samples is 3: at least 4"), (dict(steps=()), "from 0 to 19"),
                            (dict(steps=(20,)), "from 0 to 19"),
                            (dict(matched=9), "matched is 9"), (dict(iterations=0), "iterations is 0")):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(ProbeSettings(), **change).check(20)
    turns = [ProbeSettings(samples=5, matched=2).matched_latents(prompt) for prompt in range(4)]
    assert turns == [[0, 1], [2, 3], [4, 0], [1, 2]]


SETTINGS = ProbeSettings(samples=4, steps=(0, 2), matched=1, iterations=3, seed=7)
PROBE = Probe(("blind", "seeing"), tuple(sigmas().tolist()), (2, 3, 3), 3, SETTINGS)


def read(state, prompts=3, watchers=()):
    for prompt in range(state.prompts, prompts):
        drive(read_prompt(TwoLayers(prompt), PROBE, state, batch=BatchSize(3)), state, watchers)
    return state


def test_a_state_comes_back_from_a_file_between_any_two_prompts():
    memory, expected = Memory(), read(ProbeState(seconds=1.5, gradient_error=1e-4))
    for prompts in range(3):
        state = read(ProbeState(seconds=1.5, gradient_error=1e-4), prompts)
        memory.save(*state.packed())
        found = ProbeState.unpacked(*memory.load())
        assert (found.prompts, found.seconds, found.gradient_error, found.report) == (prompts, 1.5, 1e-4, None)
        assert found.readings.keys() == state.readings.keys()
        read(found)
        assert all(torch.equal(found.readings[name], value) for name, value in expected.readings.items())
        assert probe_report(PROBE, found, {}) == probe_report(PROBE, expected, {})


def test_of_a_finished_probe_the_report_alone_is_saved():
    state = read(ProbeState())
    state.report = probe_report(PROBE, state, {"prompts": 3}).to_json()
    tensors, meta = copied(*state.packed())
    assert tensors == {} and ProbeState.unpacked(tensors, meta) == ProbeState(report=state.report)
    assert ProbeState.unpacked(tensors, meta).where == "its end" and ProbeState(2).where == "prompt 2"


def test_readings_of_prompts_are_stacked():
    state = ProbeState()
    for number in range(3):
        state.take({"a": torch.full((2,), number), "b": torch.full((1, 4), number)})
    assert state.prompts == 3 and state.readings["a"].tolist() == [[0, 0], [1, 1], [2, 2]]
    assert state.readings["b"].shape == (3, 1, 4)


def test_prompts_have_noise_of_their_own():
    found = [PROBE.noise(prompt) for prompt in range(3)]
    assert torch.equal(torch.cat(found), starting_noise(12, (2, 3, 3), 7)) and found[0].shape == (4, 2, 3, 3)


def test_the_share_that_is_behind_rises_to_one():
    told: list[Progress] = []
    read(ProbeState(), watchers=[ProbeMonitor(told.append, PROBE)])
    shares = [progress.fraction for progress in told]
    assert (told[0].message, told[-1].message) == ("prompt 1 of 3", "prompt 3 of 3")
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0) and shares[0] < 0.1
    assert len(set(shares)) == len(shares), "each event brings it on"
    resumed, monitor = [], ProbeMonitor(lambda progress: resumed.append(progress.fraction), PROBE)
    read(read(ProbeState(), 2), watchers=[monitor])
    assert resumed == pytest.approx([share for share in shares if share > 2 / 3 + 1e-9])


def test_reading_and_every_iteration_of_a_match_are_told_of():
    heard = []
    read(ProbeState(), prompts=1, watchers=[lambda event, state: heard.append(event)])
    first = [event for event in heard if event.kind == "match"][:6]
    # Four latents are read three at a time, and one is matched by three iterations of two passes, or one look more.
    work = 4 + 7
    assert [event.under_way for event in first] == pytest.approx(
        [3 / work, 4 / work, *[(4 + 7 * number / 4) / work for number in (1, 2, 3)], 0])
    assert [(event.amount, event.row, event.rows) for event in first] == [*5 * [(0, 0, 2)], (4, 1, 2)]


def test_a_report_holds_what_was_chosen_and_found():
    state = read(ProbeState(seconds=2.0, gradient_error=1e-4))
    found = probe_report(PROBE, state, {"prompts": 3})
    levels = sigmas().tolist()
    assert found.settings == {"prompts": 3, "sigmas": [levels[0], levels[2]], "gradient_error": 1e-4}
    assert found.seconds == 2.0 and [layer.name for layer in found.layers] == ["blind", "seeing"]
    without = Probe(PROBE.layers, PROBE.sigmas, PROBE.shape, 3, dataclasses.replace(SETTINGS, matched=0))
    assert [layer.left for layer in probe_report(without, state, {}).layers] == [[], []]
