"""The state of a reconstruction, packed and unpacked at any time."""
import torch

from mental_averages.dma.representation import MeansState, ReconstructionState
from mental_averages.dma.solvers import Match


def match(values):
    counts = torch.tensor([3, 4])
    return Match(torch.zeros(2, 1), torch.ones(2), torch.tensor(values), counts, counts + 1, counts)


def test_a_state_is_read_back_as_it_was():
    state = ReconstructionState()
    state.open_level(torch.zeros(3, 1, 2, 2))
    state.take(slice(0, 2), torch.ones(2, 1, 2, 2), match([0.5, 0.25]))
    state.means = MeansState(4, {"a.0": torch.ones(3, 1, 2, dtype=torch.float64)}, 1.0, {"read": [1.0, 4.0]})
    again = ReconstructionState.unpacked(*state.packed())
    assert again.matched == 2 and torch.equal(again.latents, state.latents) and again.means.done == 4
    assert torch.equal(again.means.sums["a.0"], state.means.sums["a.0"])
    assert again.tally["residual_after"].tolist() == [0.5, 0.25, 0.0]
    state.close_level(1.5)
    again.close_level(1.5)
    record, = again.records
    assert state.records == again.records and record.iterations == [3, 4, 0]
    # Two of three are 1 everywhere.
    assert abs(record.spread - (2 / 9) ** 0.5) < 1e-7 and again.matched == 0 and not again.tally


def test_a_state_that_nothing_has_happened_to_can_be_saved():
    again = ReconstructionState.unpacked(*ReconstructionState().packed())
    assert again == ReconstructionState()


def test_a_level_goes_on_from_the_one_before():
    state = ReconstructionState()
    state.open_level(torch.zeros(2, 1, 1, 1))
    state.take(slice(0, 2), torch.ones(2, 1, 1, 1), match([0.0, 0.0]))
    state.close_level(1.0)
    state.open_level(torch.zeros(2, 1, 1, 1))
    assert state.latents.flatten().tolist() == [1.0, 1.0]
