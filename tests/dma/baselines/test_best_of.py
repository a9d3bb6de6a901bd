import pytest
import torch

from mental_averages.dma.baselines import best_of, medoid
from mental_averages.dma.statistics import mean_similarity


def test_the_medoid_is_the_most_typical():
    rows = torch.randn(9, 5, generator=torch.Generator().manual_seed(2))
    unit = torch.nn.functional.normalize(rows.double(), dim=1)
    similarities = unit @ unit.T
    expected = (similarities.sum(1) - similarities.diagonal()) / 8
    assert best_of(mean_similarity(rows)) == medoid(rows) == int(expected.argmax())


def test_the_first_of_equals_is_the_best():
    scores = torch.tensor([1.0, 3.0, 3.0, 0.0, 0.0])
    assert best_of(scores) == 1 and best_of(scores, lowest=True) == 3


def test_of_two_the_first_is_the_most_typical_whatever_the_rounding():
    for seed in range(50):
        pair = torch.randn(2, 300, generator=torch.Generator().manual_seed(seed))
        assert medoid(pair) == medoid(pair.flip(0)) == 0
    assert best_of(torch.tensor([1.0, 1.0 + 1e-9], dtype=torch.float64)) == 1


@pytest.mark.parametrize("scores, lowest, best", [([0.2, 0.9, -1e30, 0.5], False, 1), ([3.0, 1.0, 1e13], True, 1),
                                                  ([-1e30, 0.2, 0.1 + 0.2, 0.3], False, 2),
                                                  ([-0.5, -1e-17, 1e-17], False, 1), ([1e-20, 3e-20], False, 1)])
def test_a_huge_score_makes_no_others_equal(scores, lowest, best):
    """Such as what stands for a picture that was not scored."""
    assert best_of(torch.tensor(scores, dtype=torch.float64), lowest=lowest) == best


@pytest.mark.parametrize("scores, message", [(torch.tensor([]), "one number for each"),
                                             (torch.ones(2, 2), "one number for each"),
                                             (torch.tensor([1.0, float("nan")]), "NaN or infinite")])
def test_scores_that_say_nothing_are_refused(scores, message):
    with pytest.raises(ValueError, match=message):
        best_of(scores)
