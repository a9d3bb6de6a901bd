import pytest
import torch

from mental_averages.dma.metrics._pictures import check_pictures


def test_pictures_of_three_channels_or_more_are_taken():
    for channels in (3, 4):
        check_pictures(torch.rand(2, 4, 5, channels))


@pytest.mark.parametrize("pictures, complaint", [
    (torch.rand(4, 5, 3), r"\(N, H, W, 3\)"), (torch.rand(1, 4, 5, 1), r"\(N, H, W, 3\)"),
    (torch.rand(0, 4, 5, 3), r"\(N, H, W, 3\)"), (torch.full((2, 4, 5, 3), torch.nan), "2 of 2 pictures contain NaN")])
def test_others_are_refused(pictures, complaint):
    with pytest.raises(ValueError, match=complaint):
        check_pictures(pictures)
