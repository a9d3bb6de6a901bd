import pytest
import torch
from memory import Memory, copied
from trainings import Interrupt, Toy, same, small, train_saving

from mental_averages.dma.execution import RunState
from mental_averages.dma.training import TrainingState, state_for


def trained(steps):
    """A training after so many steps, and what is saved of it."""
    toy, memory = Toy(), Memory()
    found = train_saving(toy.parameters, toy.loss, small(steps=steps), None)
    assert len(found.report.losses) == steps
    state = TrainingState.new(toy.parameters, small())
    gradients = [torch.full_like(parameter, 0.25) for parameter in toy.parameters]
    for step in range(steps):
        state.update(0.5 / (step + 1), [gradient * (step + 1) for gradient in gradients], 32.0)
    memory.save(*state.packed())
    return toy, state, memory


def test_a_state_is_written_into_the_parameters_that_go_on():
    toy, state, memory = trained(3)
    other = Toy()
    with torch.no_grad():
        for parameter in other.parameters:
            parameter.zero_()
    kept = list(other.parameters)
    found = TrainingState.unpacked(*memory.load(), other.parameters, small())
    assert all(one is two for one, two in zip(found.parameters, kept)), "those that the network uses"
    assert all(torch.equal(one, two) and one.requires_grad for one, two in zip(found.parameters, toy.parameters))
    assert (found.losses, found.scale, found.seconds) == (state.losses, 32.0, state.seconds)
    tensors, meta = copied(*found.packed())
    expected, expected_meta = memory.load()
    assert meta == expected_meta and tensors.keys() == expected.keys()
    assert {name for name in tensors if name.startswith("0.")} == {"0.parameter", "0.step", "0.exp_avg", "0.exp_avg_sq"}
    assert all(torch.equal(tensors[name], expected[name]) for name in tensors)
    for one in (state, found):
        one.update(0.1, [torch.ones_like(parameter) for parameter in one.parameters], 16.0)
    assert all(torch.equal(one, two) for one, two in zip(found.parameters, toy.parameters)), "with AdamW's moments"
    assert all(parameter.grad is None for parameter in found.parameters) and found.scale == 16.0


def test_a_shorter_training_has_its_state_beside_the_longer_one(tmp_path):
    saved = RunState(tmp_path, "key", torch.zeros(3))
    assert state_for(saved, 5) is saved
    _, state, _ = trained(4)
    saved.save(*state.packed())
    assert state_for(saved, 4) is saved and state_for(saved, 5) is saved
    assert state_for(saved, 3).key == "key-3" and state_for(saved, 3).folder == saved.folder


@pytest.mark.parametrize("where", ["progress", "model", "backward"])
@pytest.mark.parametrize("stop", [1, 7, 12])
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, where, stop):
    expected = Toy().train(small())
    saved = RunState(tmp_path, "key", torch.zeros(3))
    toy, calls = Toy(), []

    def told(event):
        if where == "progress" and event.fraction >= stop / 12:
            raise Interrupt

    def loss(*step):
        calls.append(step)
        if where == "model" and len(calls) == stop:
            raise Interrupt
        found = toy.loss(*step)
        if where == "backward" and len(calls) == stop:
            found.register_hook(lambda gradient: (_ for _ in ()).throw(Interrupt()))
        return found

    with pytest.raises(Interrupt):
        train_saving(toy.parameters, loss, small(), saved, told)
    toy, steps = Toy(), []
    resumed = toy.train(small(), saved, steps.append)
    assert same(resumed, expected) and resumed.report.losses == expected.report.losses
    assert len(steps) == 12 - (stop if where == "progress" else stop - 1)
    assert resumed.report.seconds > 0


def test_longer_training_goes_on_from_a_shorter_one_and_is_not_given_up_for_one(tmp_path):
    saved = RunState(tmp_path, "key", torch.zeros(3))
    short = Toy().train(small(steps=5), saved)
    steps = []
    long = Toy().train(small(), saved, steps.append)
    assert len(steps) == 7 and same(long, Toy().train(small()))
    assert same(Toy().train(small(steps=5), saved), short)
    assert len(saved.load()[1]["losses"]) == 12
    assert small(steps=5).key() == small().key() != small(seed=4).key()


def test_a_shorter_training_than_the_saved_one_can_be_interrupted_too(tmp_path):
    saved = RunState(tmp_path, "key", torch.zeros(3))
    expected = Toy().train(small(steps=7))
    Toy().train(small(), saved)
    long, steps = saved.path.read_bytes(), []

    def told(event):
        steps.append(event)
        if len(steps) == 4:
            raise Interrupt

    with pytest.raises(Interrupt):
        Toy().train(small(steps=7), saved, told)
    assert same(Toy().train(small(steps=7), saved, steps.append), expected) and len(steps) == 7
    assert same(Toy().train(small(steps=7), saved, lambda event: pytest.fail("it was finished")), expected)
    assert saved.path.read_bytes() == long


def test_state_is_saved_at_intervals(tmp_path):
    saved, seen = RunState(tmp_path, "key", torch.zeros(3)), []

    def told(event):
        found = saved.load()
        seen.append(len(found[1]["losses"]) if found else 0)

    Toy().train(small(steps=4), saved, told, seconds=-1)
    assert seen == [1, 2, 3, 4], "a step is saved before anybody is told of it"
