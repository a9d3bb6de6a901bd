import pytest
import torch

from mental_averages.dma.baselines import mean_of, trimmed_mean


def test_as_many_are_left_out_as_it_says():
    """0.29 of 100 is 28.999999999999996 in fp64."""
    squares = torch.arange(100.0)[:, None] ** 2
    assert trimmed_mean(squares, 0.29).item() == pytest.approx(squares[29:71].mean().item())


def test_without_trimming_it_is_the_mean():
    batch = torch.rand(7, 5, 4, 3)
    torch.testing.assert_close(trimmed_mean(batch, 0.0), mean_of(batch))


def test_strays_of_the_trimmed_share_change_nothing_beyond_the_others():
    batch = torch.rand(10, 6, 6, 3, generator=torch.Generator().manual_seed(1))
    strayed = batch.clone()
    strayed[3], strayed[8] = 1e6, -1e6
    found = trimmed_mean(strayed, 0.2)
    others = batch[[row for row in range(10) if row not in (3, 8)]]
    assert (found >= others.amin(0)).all() and (found <= others.amax(0)).all()
    # One stray at either end: exactly the mean of the others without their own ends.
    torch.testing.assert_close(found, others.sort(0).values[1:-1].mean(0, keepdim=True))


def test_nearly_a_half_is_the_median():
    batch = torch.rand(9, 4)
    torch.testing.assert_close(trimmed_mean(batch, 0.49)[0], batch.median(0).values)


def test_large_batches_are_sorted_in_parts():
    batch = torch.rand(5, 2**20)
    torch.testing.assert_close(trimmed_mean(batch, 0.2)[0, -10:], trimmed_mean(batch[:, -10:], 0.2)[0], rtol=0, atol=0)


@pytest.mark.parametrize("trim", [-0.1, 0.5, float("nan")])
def test_a_share_that_makes_no_sense_is_refused(trim):
    with pytest.raises(ValueError, match="trim is"):
        trimmed_mean(torch.rand(4, 2), trim)
