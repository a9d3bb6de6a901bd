"""LabelledSheet."""
import pytest
import torch


def test_rows_of_pictures(comfyui):
    from mental_averages.nodes.figures import LabelledSheet

    images = torch.rand(3, 8, 8, 3)
    sheet = LabelledSheet.execute({"images0": images, "images1": images[:1]}, "three\none", "title", 64, 8).args[0]
    assert sheet.ndim == 4 and sheet.shape[-1] == 3


def test_no_pictures(comfyui):
    from mental_averages.nodes.figures import LabelledSheet

    with pytest.raises(ValueError, match="no pictures"):
        LabelledSheet.execute({}, "", "", 64, 4)


def test_pictures_that_cannot_be_shown(comfyui):
    from mental_averages.nodes.figures import LabelledSheet

    images = torch.rand(2, 8, 8, 3)
    for row, message in ((images[:0], "images1 is an empty batch"), (images * torch.nan, "images1 contains NaN")):
        with pytest.raises(ValueError, match=message):
            LabelledSheet.execute({"images0": images, "images1": row}, "", "", 64, 4)
    assert LabelledSheet.execute({"images0": images[..., :1]}, "", "", 64, 4).args[0].shape[-1] == 3
