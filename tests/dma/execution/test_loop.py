"""One driver and one resume for all loops of long work: alignment, its modes, mean shift, training, the probe."""
import dataclasses
from collections import defaultdict

import pytest
import torch
from memory import Memory, copied
from toys import LinearGaussian, sigmas

from mental_averages.dma import hspace, training
from mental_averages.dma.alignment import AlignmentSettings, Ensemble, State, align, align_mixture
from mental_averages.dma.clustering import ClusterSettings
from mental_averages.dma.diffusion import Parametrization, starting_noise
from mental_averages.dma.execution import BatchSize, Checkpoint, Event, drive, resumed, retold
from mental_averages.dma.mean_shift import MeanShiftSettings, MeanShiftState, mean_shift
from mental_averages.dma.solvers import LBFGS, Adam

SHAPE = (2, 3, 3)
SETTINGS = AlignmentSettings(count=9, aligned_steps=2, keep=3, seed=3, target_updates=2,
                             solver=Adam(learning_rate=0.05, iterations=8))
FEW = AlignmentSettings(count=40, aligned_steps=3, keep=1, carried=4, own_noise=0.5, mean_error=0.4, seed=1,
                        restored_noise=0.5, solver=LBFGS(iterations=3))


def one_place(run):
    """A loop whose state has one place: `run(place, watchers)`."""
    def whole(places, watchers):
        return run(places[""], [Checkpoint(places[""], seconds=-1), *watchers])

    return whole


def alignment(settings, start=None):
    def run(place, watchers):
        found = align(LinearGaussian(), sigmas(), SHAPE, settings, start=start, batch=BatchSize(2), watchers=watchers,
                      state=resumed(State.unpacked, place))
        return [found.latents], found.report.steps

    return one_place(run)


def ensemble():
    latents = starting_noise(9, SHAPE, 5) * (1 + sigmas()[0].item() ** 2) ** 0.5
    return Ensemble(latents, torch.arange(9.0), (7, 1, 8))


def mixture(places, watchers):
    settings = dataclasses.replace(SETTINGS, count=12, keep=1, target_updates=1)
    found = align_mixture(LinearGaussian(), sigmas(), SHAPE, settings, ClusterSettings(2, 2, minimum_size=1), 3,
                          batch=BatchSize(5), watchers=[Checkpoint(places.__getitem__, seconds=-1), *watchers],
                          restored=lambda part: places[part].load())
    return [*found.latents, found.samples], [(mode.count, mode.steps, mode.distances) for mode in found.report.modes]


def train(place, watchers):
    settings = training.TrainingSettings(steps=6, learning_rate=1e-2, batch_size=3, seed=2)
    clean = starting_noise(5, SHAPE, 0)
    weight = (0.1 * starting_noise(1, (18, 18), 1)[0]).requires_grad_()
    loss = training.loss_on(clean, Parametrization.EPS, torch.device("cpu"),
                            lambda x, sigma: (x.flatten(1) @ weight).tanh().view(x.shape))
    found = training.train(
        [weight], loss, lambda step: training.draw(settings, step, 5, SHAPE, torch.linspace(0.1, 3, 20)), settings,
        batch=BatchSize(2), watchers=watchers,
        state=resumed(lambda *saved: training.TrainingState.unpacked(*saved, [weight], settings), place))
    return found.parameters, found.report.losses


class Layered(LinearGaussian):
    """Two layers, of which one sees the number of the prompt."""

    def __init__(self, prompt, layer="plain"):
        super().__init__()
        self.prompt, self.layer = prompt, layer

    def features(self, x, sigma):
        return super().features(x, sigma) + self.prompt * (self.layer == "seeing")

    def at(self, layer):
        return Layered(self.prompt, layer)

    def all_features(self, x, sigma, layers, reduced):
        return {layer: reduced(layer, self.at(layer).features(x, sigma)) for layer in layers}


def probe(place, watchers):
    settings = hspace.ProbeSettings(samples=4, steps=(0, 2), matched=1, iterations=3)
    asked = hspace.Probe(("plain", "seeing"), tuple(sigmas().tolist()), SHAPE, 3, settings)
    state = resumed(hspace.ProbeState.unpacked, place) or hspace.ProbeState()
    for prompt in range(state.prompts, 3):
        drive(hspace.read_prompt(Layered(prompt), asked, state, batch=BatchSize(3)), state, watchers)
    report = hspace.probe_report(asked, dataclasses.replace(state, seconds=0.0), {})
    return list(state.readings.values()), report.to_json()


def shift(place, watchers):
    settings = MeanShiftSettings(count=40, averaged_steps=3, mean_error=0.15, seed=2, restored_noise=0.5, keep=2)
    found = mean_shift(LinearGaussian(), sigmas(), SHAPE, settings, batch=BatchSize(7), watchers=watchers,
                       state=resumed(MeanShiftState.unpacked, place))
    return [found.latents, found.spread], found.report.levels


LOOPS = {"mean shift": one_place(shift), "alignment": alignment(SETTINGS), "few carried": alignment(FEW),
         "ensemble": alignment(dataclasses.replace(SETTINGS, carried=2, keep=2), ensemble()),
         "no aligned steps": alignment(dataclasses.replace(SETTINGS, aligned_steps=0)),
         "modes": mixture, "training": one_place(train), "probe": one_place(probe)}


def same(found, expected):
    return (all(torch.equal(*pair) for pair in zip(found[0], expected[0], strict=True)) and found[1] == expected[1])


def with_saves(saves):
    """Places as they were after some of the saves, each (part, tensors, meta)."""
    places = defaultdict(Memory)
    for part, tensors, meta in saves:
        places[part].saves.append(copied(tensors, meta))
    return places


class Notebook(defaultdict):
    """Places that remember the order of all their saves together."""

    def __init__(self):
        super().__init__()
        self.saves = []

    def __missing__(self, part):
        place, saves = Memory(), self.saves
        keep = place.save
        place.save = lambda tensors, meta: (saves.append((part, *copied(tensors, meta))), keep(tensors, meta))
        self[part] = place
        return place


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_every_saved_state_leads_to_the_same_result(loop):
    places = Notebook()
    expected = loop(places, [])
    assert len(places.saves) >= 1
    assert same(loop(defaultdict(Memory), []), expected), "a second run from nothing"
    for count in range(1, len(places.saves) + 1):
        assert same(loop(with_saves(places.saves[:count]), []), expected), f"from save {count} of {len(places.saves)}"


class Stop(BaseException):
    """Like ComfyUI's interrupt, no Exception."""


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_wherever_a_watcher_stops_it_it_goes_on_to_the_same_result(loop):
    heard = []
    expected = loop(defaultdict(Memory), [lambda event, state: heard.append(event.kind)])
    for stop in range(1, len(heard) + 1, max(1, len(heard) // 12)):
        places, count = defaultdict(Memory), []

        def watch(event, state, count=count, stop=stop):
            count.append(event)
            if len(count) == stop:
                raise Stop

        with pytest.raises(Stop):
            loop(places, [watch])
        rest = []
        assert same(loop(places, [lambda event, state, rest=rest: rest.append(event)]), expected), f"stopped at {stop}"
        assert len(rest) <= len(heard)


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_a_finished_run_is_not_run_again(loop):
    places, rest = defaultdict(Memory), []
    expected = loop(places, [])
    assert same(loop(places, [lambda event, state: rest.append(event.kind)]), expected)
    assert set(rest) <= {"clusters", "fit"}  # a mixture is fitted again


def counting(state):
    while state["done"] < 4:
        state["done"] += 1
        yield Event("count", changed=True, closes=state["done"] == 4)
    return "finished"


def test_watchers_hear_in_their_order_and_are_closed_whatever_ends_the_loop():
    heard = []

    class Watching:
        def __init__(self, name, fails=()):
            self.name, self.fails = name, fails

        def __call__(self, event, state):
            heard.append((self.name, state["done"]))
            if state["done"] in self.fails:
                raise Stop

        def close(self, state):
            heard.append((self.name, "closed", state["done"]))

    state = {"done": 0}
    with pytest.raises(Stop):
        drive(counting(state), state, [Watching("first"), Watching("second", fails=[2]), Watching("third")])
    assert heard == [("first", 1), ("second", 1), ("third", 1), ("first", 2), ("second", 2),
                     ("first", "closed", 2), ("second", "closed", 2), ("third", "closed", 2)]
    heard.clear()
    assert drive(counting(state), state, [Watching("only")]) == "finished"
    assert heard == [("only", 3), ("only", 4), ("only", "closed", 4)]


@dataclasses.dataclass
class Counter:
    done: int = 0
    part: str = "it"

    def packed(self):
        return {}, {"done": self.done}


def saved_by(events, **options):
    memory, state = Memory(), Counter()

    def loop():
        for event in events:
            state.done += 1
            yield event

    drive(loop(), state, [Checkpoint(memory, **options)])
    return [meta["done"] for _, meta in memory.saves]


def test_a_state_is_saved_when_a_step_ends_and_otherwise_when_it_is_due():
    changed, step, nothing = Event("a", changed=True), Event("b", closes=True), Event("c")
    assert saved_by([changed, nothing, step, nothing], seconds=60) == [3]
    assert saved_by([changed, nothing, step, changed], seconds=60) == [3, 4], "what is not saved yet is at the end"
    assert saved_by([changed, nothing, step, changed], seconds=-1) == [1, 3, 4]
    assert saved_by([nothing, nothing], seconds=-1) == []


@pytest.mark.parametrize("cost, at", [(0.0, [11, 22, 33, 44, 55, 58, 60]), (2.0, [11, 52, 58, 60])])
def test_saves_within_a_step_are_as_far_apart_as_they_are_dear(monkeypatch, cost, at):
    """262 MB every ten seconds, of which each save takes one, were 94 GB an hour."""
    now, state, saved = [0.0], Counter(), []
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    class Slow(Memory):
        def save(self, tensors, meta):
            saved.append(meta["done"])
            now[0] += cost
            return super().save(tensors, meta)

    def loop():
        for done in range(1, 61):
            now[0] += 1.0
            state.done = done
            yield Event("work", changed=True, closes=done == 58)

    drive(loop(), state, [Checkpoint(Slow(), seconds=10.0)])
    assert saved == at, "a step's end and the run's end are saved in any case"


class Failing:
    """A watcher that cannot be closed, as a checkpoint after an error of the device."""

    def __call__(self, event, state):
        pass

    def close(self, state):
        raise OSError("cannot be closed")


def test_what_ended_the_loop_is_told_and_not_what_closing_runs_into(caplog):
    state, memory, left = Counter(), Memory(), []

    def loop():
        try:
            state.done += 1
            yield Event("work", changed=True)
            raise KeyError("of the loop")
        finally:
            left.append("generator")

    with pytest.raises(KeyError, match="of the loop"):
        drive(loop(), state, [Failing(), Checkpoint(memory, seconds=1e9)])
    assert "cannot be closed" in caplog.text and len(memory.saves) == 1 and left == ["generator"]


def test_an_error_of_closing_is_told_where_the_loop_had_none():
    state, memory = Counter(), Memory()
    with pytest.raises(OSError, match="cannot be closed"):
        drive((event for event in [Event("work", changed=True)]), state, [Failing(), Checkpoint(memory, seconds=1e9)])
    assert len(memory.saves) == 1


def test_a_loop_is_closed_when_a_watcher_raises():
    left = []

    def loop():
        try:
            yield Event("work")
        finally:
            left.append("generator")

    def interrupt(event, state):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as kept:
        drive(loop(), None, [interrupt])
    assert kept and left == ["generator"]


def test_a_save_that_failed_is_tried_again_at_the_end():
    class Full(Memory):
        def save(self, tensors, meta):
            super().save(tensors, meta)
            return len(self.saves) > 1

    memory = Full()
    drive((event for event in [Event("step", changed=True, closes=True)]), Counter(), [Checkpoint(memory)])
    assert len(memory.saves) == 2


def test_what_is_told_in_other_words_ends_with_who_hears_it():
    closed, heard = [], []

    def steps():
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    def stop(event, state):
        heard.append(event.amount)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive(retold(steps(), lambda amount: Event("count", amount)), None, [stop])
    assert closed == [True] and heard == [1]
