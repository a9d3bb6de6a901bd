import pytest
import torch

from mental_averages.dma.statistics import against_references, fewest_references


@pytest.mark.parametrize("rate, count", [(0.05, 19), (0.01, 99), (0.1, 9), (0.5, 1), (0.3, 3), (0.001, 999)])
def test_so_many_references_can_flag_something_and_one_fewer_cannot(rate, count):
    assert fewest_references(rate) == count
    scores = torch.tensor([1e9])
    assert against_references(scores, torch.rand(count), false_positive_rate=rate).flags.item()
    with pytest.raises(ValueError, match=f"There are {count - 1} references, .* that needs {count}"):
        against_references(scores, torch.rand(count - 1), false_positive_rate=rate)


@pytest.mark.parametrize("count", [19, 30, 59, 100])
@pytest.mark.parametrize("rate", [0.05, 0.1, 0.25])
def test_samples_like_the_references_are_flagged_at_most_as_often_as_promised(rate, count):
    """Whatever the distribution, ties included; exactly at the share of ranks that the rate leaves."""
    generator = torch.Generator().manual_seed(count)
    drawn = torch.randn(20000, count + 1, generator=generator).exp()
    for values in (drawn, (drawn * 2).round()):
        flagged = [against_references(row[:1], row[1:], false_positive_rate=rate).flags.item() for row in values[:4000]]
        found, expected = sum(flagged) / len(flagged), int(rate * (count + 1) + 1e-9) / (count + 1)
        error = 4 * (rate * (1 - rate) / len(flagged)) ** 0.5
        assert found < rate + error
        if values is drawn:
            assert abs(found - expected) < error


def test_percentiles_and_threshold():
    references = torch.tensor([3.0, 1.0, 2.0, 2.0])
    found = against_references(torch.tensor([0.0, 1.5, 2.0, 3.0, 3.5]), references, false_positive_rate=0.4)
    assert found.percentiles.tolist() == [0, 25, 50, 87.5, 100]
    assert found.threshold == 2.0 and found.flags.tolist() == [False, False, False, True, True]


@pytest.mark.parametrize("scores, references, rate, message", [
    (torch.ones(2), torch.ones(99), 0.0, "between 0 and 1"), (torch.ones(2), torch.ones(99), 1.0, "between 0 and 1"),
    (torch.ones(2), torch.ones(99), float("nan"), "between 0 and 1"), (torch.ones(2, 1), torch.ones(99), 0.1, "shape"),
    (torch.tensor([torch.nan]), torch.ones(99), 0.1, "The scores must be finite"),
    (torch.ones(2), torch.full((99,), torch.inf), 0.1, "The scores of references must be finite")])
def test_what_makes_no_sense_is_refused(scores, references, rate, message):
    with pytest.raises(ValueError, match=message):
        against_references(scores, references, false_positive_rate=rate)


@pytest.mark.parametrize("count, rate", [(20, 0.05), (40, 0.05), (40, 0.1)])
def test_samples_among_themselves_are_flagged_as_often_as_others(count, rate):
    """Each is left out of its own references. With itself among 19 others none was ever flagged at 5 %."""
    flagged, own = 0, torch.eye(count, dtype=torch.bool)
    for seed in range(200):
        scores = torch.randn(count, generator=torch.Generator().manual_seed(seed))
        found = against_references(scores, scores, false_positive_rate=rate, own=own)
        flagged += found.flags.sum().item()
        if not seed:
            alone = [against_references(scores[row : row + 1], scores[torch.arange(count) != row],
                                        false_positive_rate=rate) for row in range(count)]
            assert found.flags.tolist() == [each.flags.item() for each in alone]
            torch.testing.assert_close(found.percentiles, torch.cat([each.percentiles for each in alone]))
    assert flagged / (200 * count) == pytest.approx(int(rate * count + 1e-9) / count, abs=1e-9)


def test_a_score_that_has_no_other_reference_is_not_flagged():
    found = against_references(torch.ones(1), torch.ones(1), false_positive_rate=0.5, own=torch.ones(1, 1))
    assert found.percentiles.tolist() == [50] and found.flags.tolist() == [False]
    with pytest.raises(ValueError, match="own must say of 1 scores and 2 references"):
        against_references(torch.ones(1), torch.ones(2), false_positive_rate=0.5, own=torch.ones(1, 1))
