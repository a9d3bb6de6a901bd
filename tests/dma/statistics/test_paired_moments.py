import pytest
import torch

from mental_averages.dma.statistics import PairedMoments, RunningMoments

ROWS = torch.randn(33, 2, 3, generator=torch.Generator().manual_seed(0))


def taken(*sizes):
    moments = PairedMoments()
    for rows in ROWS[: sum(sizes)].split(sizes):
        moments.update(rows)
    return moments


def test_mean_and_variance_are_of_rows_and_the_error_of_pairs():
    moments, rows = taken(33), ROWS.double()
    torch.testing.assert_close(moments.mean, rows.mean(0))
    # As good as if all were independent, which these are, but for what is estimated.
    torch.testing.assert_close(moments.variance, rows.var(0), rtol=0.1, atol=0)
    pairs = rows[:32].view(16, 2, 2, 3).mean(1)
    error = (pairs.var(0).sum() / 16).sqrt() / rows[:32].mean(0).norm()
    assert taken(32).standard_error == pytest.approx(error.item()) and moments.count == 33


@pytest.mark.parametrize("count", [4, 5, 6, 7, 16, 17])
@pytest.mark.parametrize("law, variance", [
    (lambda first, second: (first, -first), 1.0),  # pairs cancel
    (lambda first, second: (1 + first + first**2, 1 - first + first**2), 3.0),  # what is odd in the noise does
    (lambda first, second: (first, second), 1.0), (lambda first, second: (first, first), 1.0)])
def test_the_variance_is_without_bias_whatever_pairs_have_in_common(count, law, variance):
    """Of normal noise e the variance of 1 + e + e^2 is 1 + 2. Each column is a run of its own."""
    noise = torch.randn((count + 1) // 2, 2, 40000, generator=torch.Generator().manual_seed(count)).double()
    moments = PairedMoments()
    moments.update(torch.stack([row for first, second in noise for row in law(first, second)])[:count])
    found = moments.variance
    assert found.mean().item() == pytest.approx(variance, abs=4 * found.std().item() / 200)


def test_of_one_pair_rows_count_as_independent():
    rows = ROWS[:3].double()
    torch.testing.assert_close(taken(2).variance, rows[:2].var(0))
    torch.testing.assert_close(taken(3).variance, rows.var(0))
    assert taken(1).variance.isnan().all()


@pytest.mark.parametrize("count", [4, 7, 16, 33])
def test_the_mean_and_its_error_know_nothing_of_the_variance_of_rows_by_pairs(count):
    """What averages and their stopping depend on, to the last bit."""
    found, rows, pairs = taken(count), RunningMoments(), RunningMoments()
    rows.update(ROWS[:count])
    pairs.update(ROWS[: count - count % 2].double().view(-1, 2, 2, 3).mean(1))
    variance = pairs.variance.sum() / pairs.count * (2 * pairs.count / count) ** 2
    variance = variance + count % 2 * rows.variance.sum() / count**2
    assert torch.equal(found.mean, rows.mean)
    assert found.standard_error == variance.sqrt().item() / rows.mean.norm().item()


def test_a_row_without_its_partner_is_in_the_error():
    """Of five rows of 1 + noise four cancel: what is told is the error that the fifth leaves."""
    noise = torch.randn(2000, 3, 1, 200, generator=torch.Generator().manual_seed(1))
    told, true = [], []
    for first, second, single in noise[:200]:
        moments = PairedMoments()
        moments.update(1 + torch.stack([first, -first, second, -second, single]))
        told.append(moments.standard_error)
        true.append((moments.mean - 1).norm() / moments.mean.norm())
    true = torch.stack(true).square().mean().sqrt().item()
    assert sum(told) / len(told) == pytest.approx(true, rel=0.15)


@pytest.mark.parametrize("sizes", [(1,) * 33, (3, 30), (7, 7, 7, 7, 5), (16, 1, 16)])
def test_the_parts_do_not_matter(sizes):
    found, expected = taken(*sizes), taken(33)
    torch.testing.assert_close(found.mean, expected.mean)
    assert found.standard_error == pytest.approx(expected.standard_error) and len(found.waiting) == 1


def test_what_is_odd_cancels():
    """The error of a mean over eps and -eps of a linear function is nothing; that of independent rows would not be."""
    moments = PairedMoments()
    moments.update(1 + torch.stack([ROWS[:16], -ROWS[:16]], dim=1).flatten(0, 1))
    assert moments.standard_error == pytest.approx(0, abs=1e-7)
    torch.testing.assert_close(moments.mean, torch.ones(2, 3, dtype=torch.float64))


def test_the_error_is_known_from_two_pairs_on_and_asked_after_whole_looks():
    assert taken(3).standard_error is None and taken(4).standard_error is not None
    assert not taken(3).is_certain(1e9) and not taken(17).is_certain(1e9) and taken(16).is_certain(1e9)
    assert not taken(16).is_certain(0.0)


@pytest.mark.parametrize("count", [0, 1, 6, 7])
def test_it_is_packed_and_unpacked(count):
    moments = taken(count) if count else PairedMoments()
    again = PairedMoments.unpacked(*moments.packed())
    for each in (moments, again):
        each.update(ROWS[count : count + 5])
    assert torch.equal(again.mean, moments.mean) and again.standard_error == moments.standard_error


@pytest.mark.parametrize("sizes", [(16, 16), (2, 31), (32, 1)])
def test_moments_of_whole_pairs_merge_as_if_all_rows_had_been_seen_here(sizes):
    first, later = PairedMoments(), PairedMoments()
    first.update(ROWS[: sizes[0]])
    later.update(ROWS[sizes[0] : sum(sizes)])
    first.merge(later)
    (tensors, numbers), (expected, others) = first.packed(), taken(*sizes).packed()
    assert numbers == others and all(torch.equal(tensors[name], value) for name, value in expected.items())
    assert PairedMoments.unpacked(tensors, numbers).packed()[1] == numbers


def test_moments_with_half_a_pair_do_not_merge():
    with pytest.raises(ValueError, match="waits for its partner"):
        taken(3).merge(taken(2))
