"""AverageImages and AverageLatents."""
import pytest
import torch


def test_averages(comfyui):
    from mental_averages.nodes.baselines import AverageImages, AverageLatents

    images = torch.rand(3, 8, 8, 3)
    torch.testing.assert_close(AverageImages.execute(images).args[0], images.mean(0, keepdim=True))
    latent = AverageLatents.execute({"samples": images, "batch_index": [0, 1, 2]}).args[0]
    assert set(latent) == {"samples"} and latent["samples"].shape == (1, 8, 8, 3)


def test_what_transparency_hides_is_not_averaged(comfyui):
    """The mean is that of what is seen on a white page: here of red and of nothing."""
    from mental_averages.nodes.baselines import AverageImages

    images = torch.zeros(2, 8, 8, 4)
    images[0, ..., 0] = images[0, ..., 3] = 1
    images[1, ..., 2] = 1  # blue that is not seen
    expected = torch.tensor([1.0, 0.5, 0.5]).expand(1, 8, 8, 3)
    torch.testing.assert_close(AverageImages.execute(images).args[0], expected)


def test_bad_batches(comfyui):
    from mental_averages.nodes.baselines import AverageImages, AverageLatents

    with pytest.raises(ValueError, match="empty batch"):
        AverageImages.execute(torch.zeros(0, 8, 8, 3))
    with pytest.raises(ValueError, match="NaN"):
        AverageLatents.execute({"samples": torch.full((1, 4, 8, 8), float("nan"))})
