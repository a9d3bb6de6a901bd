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


def test_captions_stay_with_their_inputs(comfyui, caplog):
    from mental_averages.nodes.figures import LabelledSheet

    first, third = torch.zeros(1, 8, 8, 3), torch.ones(1, 8, 8, 3)
    sheet = LabelledSheet.execute({"images0": first, "images1": None, "images2": third}, "one\ntwo\nthree", "", 64,
                                  8).args[0]
    assert "'two'" in caplog.text and "'one'" not in caplog.text
    alike = LabelledSheet.execute({"images0": first, "images1": third}, "one\nthree", "", 64, 8).args[0]
    assert torch.equal(sheet, alike)


def test_rows_without_a_caption_are_said(comfyui, caplog):
    from mental_averages.nodes.figures import LabelledSheet

    images = torch.rand(1, 8, 8, 3)
    LabelledSheet.execute({"images0": images, "images1": images}, "", "", 64, 8)
    assert not caplog.text
    LabelledSheet.execute({"images0": images, "images1": images}, "one", "", 64, 8)
    assert "images1" in caplog.text and "images0" not in caplog.text
