import pytest
import torch

from mental_averages.dma.mean_shift import check_samples
from mental_averages.dma.metrics import sameness
from mental_averages.dma.statistics import check_different


@pytest.mark.parametrize("shape", [(4,), (2, 3, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64])
def test_one_value_in_one_row_is_a_difference(shape, dtype):
    rows = torch.ones(5, *shape, dtype=dtype)
    with pytest.raises(ValueError, match="All 5 things are the same: so what"):
        check_different(rows, "things", "so what")
    rows[4].view(-1)[-1] = 2
    check_different(rows, "things", "so what")


def test_of_one_row_or_of_what_is_no_number_nothing_is_said():
    check_different(torch.ones(1, 4), "things", "so what")
    check_different(torch.full((3, 4), torch.nan), "things", "so what")


def test_it_is_how_every_room_asks():
    """All of them say how many there are, and that they are the same."""
    for refused in (lambda: check_samples(torch.ones(6, 2, 3, 3), (2, 3, 3)), lambda: sameness(torch.ones(6, 4))):
        with pytest.raises(ValueError, match="^All 6 samples are the same: "):
            refused()
