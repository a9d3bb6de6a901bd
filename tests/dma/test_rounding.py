import torch

from mental_averages.dma.rounding import ROUNDING, is_rounding, rounded_down


def test_what_cancels_is_rounding_in_any_order_and_at_any_size():
    for size in (1e-30, 1.0, 1e30):
        terms = size * torch.randn(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        scale = terms.norm()
        for part in terms.split([300, 700]):
            left = terms.sum() - part.sum() - (terms.sum() - part.sum()) * (1 + 1e-15)
            assert is_rounding(left, scale) and not is_rounding(left + 1e-9 * scale, scale)


def test_every_number_has_a_scale_of_its_own_and_nothing_is_rounding_of_nothing():
    values = torch.tensor([ROUNDING, -2 * ROUNDING, 0.0, 1.0, float("nan")], dtype=torch.float64)
    found = is_rounding(values, torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0], dtype=torch.float64))
    assert found.tolist() == [True, False, True, False, False]


def test_whole_numbers_are_not_rounded_to_the_one_below():
    for share in range(101):
        for count in (20, 50, 100, 1000):
            assert rounded_down(share / 100 * count) == share * count // 100
    assert rounded_down(-0.5) == -1 and rounded_down(2.999) == 2
