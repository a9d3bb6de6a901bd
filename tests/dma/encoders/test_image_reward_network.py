"""The network of ImageReward gives the rewards of the authors' package for the same weights."""
import pytest
import torch
from published_models import pixels, write_image_reward_files

from mental_averages.dma import encoders


def test_the_package_gives_the_same_rewards(tmp_path):
    """What the modules of image-reward 1.5 (its BLIP, its text encoder, its linear layers) gave."""
    encoders.write_image_reward(*write_image_reward_files(tmp_path / "files"), tmp_path / "reward")
    encoder = encoders.load_encoder(tmp_path / "reward")
    tokens = torch.tensor([[2, 6, 7, 8, 3, *[0] * 30]])
    with torch.no_grad():
        rewards = encoder.network(pixels(3), tokens, (tokens > 0).long())
    assert rewards.tolist() == pytest.approx([0.4607819616794586, 0.4705289900302887, 0.4554003179073334], abs=1e-5)
