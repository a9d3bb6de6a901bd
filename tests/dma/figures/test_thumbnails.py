"""Pictures made smaller: the same on a sheet, and never more pixels than asked for."""
import pytest
import torch
from hypothesis import given, strategies as st

from mental_averages.dma.figures import height_within, labelled_sheet, thumbnails


@pytest.mark.parametrize("size", [(64, 64, 3), (48, 90, 3), (100, 30, 1), (20, 20, 4), (32, 40, 3)])
def test_a_sheet_of_thumbnails_is_that_of_the_pictures(size):
    pictures = torch.rand(3, *size, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2
    small = thumbnails(pictures, 32)
    assert small.shape[:2] == (3, 32) and small.shape[-1] == 3
    whole, again = (labelled_sheet([rows], ["a"], cell=32) for rows in (pictures, small))
    assert torch.equal(whole, again)


def test_pictures_of_that_height_are_themselves():
    pictures = torch.rand(2, 16, 20, 3)
    assert thumbnails(pictures, 16) is pictures


@given(st.integers(1, 10**6), st.integers(1, 200), st.integers(1, 500), st.integers(1, 500))
def test_no_more_pixels_than_asked_for_and_not_far_less(pixels, count, height, width):
    def taken(at):
        return count * at * max(1, round(width * at / height))

    found = height_within(pixels, count, height, width)
    assert 1 <= found <= height
    assert found == 1 or taken(found) <= pixels
    # Up to the rounding of widths, which is little where they are not.
    assert found == height or width * found < 20 * height or count * (found + 1.5) ** 2 * width / height > 0.95 * pixels
