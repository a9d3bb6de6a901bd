import pytest
import torch

from mental_averages.dma.statistics import auroc


@pytest.mark.parametrize("decimals", [0, 3])
def test_it_is_the_share_of_pairs_in_order(decimals):
    """With many equal scores and without; and as scikit-learn has it."""
    from sklearn.metrics import roc_auc_score

    generator = torch.Generator().manual_seed(0)
    positive = (torch.randn(40, generator=generator) + 0.7).round(decimals=decimals)
    negative = torch.randn(23, generator=generator).round(decimals=decimals)
    pairs = positive[:, None] - negative[None]
    expected = ((pairs > 0).double() + (pairs == 0).double() / 2).mean().item()
    assert auroc(positive, negative) == pytest.approx(expected)
    labels = [1] * 40 + [0] * 23
    assert auroc(positive, negative) == pytest.approx(roc_auc_score(labels, torch.cat([positive, negative]).numpy()))


def test_extremes():
    assert auroc(torch.tensor([2.0]), torch.tensor([1.0, 0.0])) == 1
    assert auroc(torch.tensor([-2.0]), torch.tensor([1.0, 0.0])) == 0
    assert auroc(torch.ones(3), torch.ones(2)) == 0.5
    assert auroc(torch.tensor([torch.inf]), torch.tensor([1.0])) == 1


@pytest.mark.parametrize("positive, negative", [
    (torch.ones(0), torch.ones(2)), (torch.ones(2), torch.ones(0)), (torch.ones(2, 1), torch.ones(2)),
    (torch.tensor([torch.nan]), torch.ones(2))])
def test_what_makes_no_sense_is_refused(positive, negative):
    with pytest.raises(ValueError, match="at least one in each group"):
        auroc(positive, negative)
