import pytest
import torch
from peak_memory import largest_made_by

from mental_averages.dma.statistics import jackknife_error, leave_one_out, mean_product, mean_similarity


def test_similarity_is_the_mean_to_all_others():
    rows = torch.randn(9, 5, generator=torch.Generator().manual_seed(2))
    unit = torch.nn.functional.normalize(rows.double(), dim=1)
    similarities = unit @ unit.T
    expected = (similarities.sum(1) - similarities.diagonal()) / 8
    torch.testing.assert_close(mean_similarity(rows), expected, rtol=0, atol=1e-14)
    assert mean_similarity(rows[:1]).item() == pytest.approx(0, abs=1e-14)


def test_large_rows_are_not_kept_in_double_precision():
    features = torch.ones(24, 2**20)  # 96 MiB
    assert largest_made_by(lambda: mean_similarity(features)) < 40 * 2**20


def test_mean_product_is_that_of_all_pairs_with_the_error_of_leaving_out_rows():
    rows = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def mean_of(kept):
        products = rows[kept] @ rows[kept].T
        return products[~torch.eye(len(kept), dtype=torch.bool)].mean()

    mean, error = mean_product(rows)
    assert mean == pytest.approx(mean_of(range(7)).item(), abs=1e-14)
    assert error == pytest.approx(jackknife_error(leave_one_out(mean_of, 7)).item(), abs=1e-14)
    assert mean_product(rows[:2]) == (pytest.approx((rows[0] @ rows[1]).item(), abs=1e-14), 0.0)
