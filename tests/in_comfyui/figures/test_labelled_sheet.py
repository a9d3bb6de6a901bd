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
