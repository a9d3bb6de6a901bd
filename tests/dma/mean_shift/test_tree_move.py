import pytest
import torch

from mental_averages.dma.mean_shift._tree_move import Move

MOVING, COUNT = torch.tensor([4, 0, 2]), 6
ASKED = 50 * torch.randn(3, 2, 1, 2, generator=torch.Generator().manual_seed(0))
PREDICTED = ASKED.repeat_interleave(COUNT, 0) + torch.randn(18, 2, 1, 2, generator=torch.Generator().manual_seed(1))


def moved(*sizes, move=None):
    move = move or Move.of(MOVING, ASKED, COUNT)
    for part in PREDICTED[move.done :].split(list(sizes)):
        move.add(part)
    return move


def test_means_and_their_standard_errors():
    move, values = moved(18), PREDICTED.double().view(3, COUNT, 4)
    assert move.predictions == move.done == 18
    torch.testing.assert_close(move.means.flatten(1), values.mean(1).float())
    expected = (values.var(1).sum(1) / COUNT).sqrt()
    torch.testing.assert_close(move.errors, expected)


@pytest.mark.parametrize("sizes", [(1,) * 18, (5, 5, 5, 3), (6, 12)])
def test_micro_batches_change_nothing(sizes):
    whole, parts = moved(18), moved(*sizes)
    assert torch.equal(whole.means, parts.means) and torch.equal(whole.errors, parts.errors)


@pytest.mark.parametrize("stop", [0, 1, 5, 6, 7, 17, 18])
def test_a_move_goes_on_wherever_it_was_broken_off(stop):
    begun = Move.of(MOVING, ASKED, COUNT)
    begun.add(PREDICTED[:stop])
    tensors, meta = begun.packed()
    tensors = {name: value.clone() for name, value in tensors.items()}
    assert len(tensors["means"]) == stop // COUNT, "only what is finished is kept"
    again, whole = moved(18 - stop, move=Move.unpacked(tensors, meta, ASKED)), moved(18)
    assert torch.equal(again.means, whole.means) and torch.equal(again.errors, whole.errors)
    assert torch.equal(again.moving, MOVING) and again.done == 18


def test_flows_that_all_predictions_agree_on_have_no_error():
    move = Move.of(torch.tensor([0]), torch.full((1, 1, 1, 1), 1e4), 2)
    move.add(torch.full((2, 1, 1, 1), 3.0))
    assert move.errors.tolist() == [0.0] and move.means.item() == 3.0
