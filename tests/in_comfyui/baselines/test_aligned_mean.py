"""AlignedMean, inside inference mode as ComfyUI runs it."""
import pytest
import torch


@pytest.fixture
def squares():
    """One square on white in four places, made under inference mode."""
    with torch.inference_mode():
        images = torch.ones(4, 48, 48, 3)
        for row, (right, down) in enumerate([(14, 14), (18, 15), (15, 19), (17, 16)]):
            images[row, down : down + 18, right : right + 18] = torch.tensor([0.9, 0.2, 0.1])
    return images


def test_pictures_meet(comfyui, squares):
    from mental_averages.nodes.baselines import AlignedMean

    with torch.inference_mode():
        mean, aligned = AlignedMean.execute(squares, flow_rounds=0, trim=0.0).args
    assert mean.shape == (1, 48, 48, 3) and aligned.shape == squares.shape
    torch.testing.assert_close(mean[0], aligned.mean(0), rtol=0, atol=1e-6)
    assert aligned.std(0).mean() < 0.4 * squares.std(0).mean()


def test_without_rounds_it_is_the_trimmed_mean(comfyui, squares):
    from mental_averages.dma.baselines import trimmed_mean
    from mental_averages.nodes.baselines import AlignedMean

    with torch.inference_mode():
        mean, aligned = AlignedMean.execute(squares, 0, 0, trim=0.3).args
    torch.testing.assert_close(aligned, squares.clone(), rtol=0, atol=1e-5)
    torch.testing.assert_close(mean, trimmed_mean(aligned, 0.3), rtol=0, atol=0)


def test_bad_inputs(comfyui, squares):
    from mental_averages.nodes.baselines import AlignedMean

    with pytest.raises(ValueError, match="empty batch"):
        AlignedMean.execute(squares[:0])
    with pytest.raises(ValueError, match="trim is 0.5"):
        AlignedMean.execute(squares, trim=0.5)
