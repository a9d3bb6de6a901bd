import pytest
import torch
from peak_memory import largest_made_by

from mental_averages.dma.metrics import brightness, sharpness

RAMP = torch.linspace(0, 1, 8)[None, None, :, None].expand(1, 8, 8, 3)
BOARD = (torch.arange(8)[:, None] + torch.arange(8)).remainder(2).float()[None, :, :, None].expand(1, 8, 8, 3)


def test_sharpness_of_a_ramp_is_zero_and_of_a_checkerboard_large():
    assert sharpness(RAMP).item() == pytest.approx(0, abs=1e-10)
    assert sharpness(BOARD).item() == pytest.approx(16 * 36 / 35, rel=1e-3)  # 4 or -4 at each of 36 places


def test_sharpness_falls_with_a_blur_and_goes_with_the_square_of_contrast():
    noise = torch.rand(2, 16, 16, 3, generator=torch.Generator().manual_seed(0))
    blurred = torch.nn.functional.avg_pool2d(noise.movedim(-1, 1), 3, 1, 1).movedim(1, -1)
    assert (sharpness(blurred) < 0.2 * sharpness(noise)).all()
    torch.testing.assert_close(sharpness(noise / 2), sharpness(noise) / 4)


def test_brightness_weighs_the_colours():
    colours = torch.eye(3)[:, None, None].expand(3, 2, 2, 3)
    assert brightness(colours).tolist() == pytest.approx([0.299, 0.587, 0.114])


def test_a_fourth_channel_and_the_precision_do_not_count():
    four = torch.cat([BOARD, torch.rand(1, 8, 8, 1)], dim=-1)
    for measure in (sharpness, brightness):
        assert measure(four).item() == measure(BOARD).item() == measure(BOARD.half()).item()


@pytest.mark.parametrize("pictures, complaint", [
    (torch.ones(1, 2, 8, 3), "3 x 3 pixels or more, not of \\(2, 8\\)"), (torch.ones(8, 8, 3), "shape"),
    (torch.ones(1, 8, 8, 1), "shape")])
def test_what_has_no_sharpness_is_refused(pictures, complaint):
    with pytest.raises(ValueError, match=complaint):
        sharpness(pictures)


def test_the_smallest_picture_has_one_place_and_no_variance():
    assert sharpness(BOARD[:, :3, :3]).item() == 0


def test_many_large_pictures_are_looked_at_some_at_a_time():
    pictures = torch.rand(48, 512, 512, 3)  # 144 MiB
    for measure in (sharpness, brightness):
        assert largest_made_by(lambda measure=measure: measure(pictures)) < 24 * 2**20
    torch.testing.assert_close(sharpness(pictures), torch.cat([sharpness(each[None]) for each in pictures]))


@pytest.mark.parametrize("measure", [sharpness, brightness])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_pictures_with_nan_and_infinity_are_refused(measure, value):
    pictures = torch.rand(3, 8, 8, 3)
    pictures[1, 2, 3, 0] = value
    with pytest.raises(ValueError, match="1 of 3 pictures contain NaN or infinity"):
        measure(pictures)
