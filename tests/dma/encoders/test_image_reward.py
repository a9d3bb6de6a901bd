"""Rewards of pictures: preprocessing, prompts, batches, and what is refused."""
import dataclasses

import pytest
import torch
from encoder_folders import write_clip
from published_models import write_image_reward_files

from mental_averages.dma import encoders
from mental_averages.dma.execution import BatchSize

PICTURES = torch.rand(5, 40, 30, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reward")
    encoders.write_image_reward(*write_image_reward_files(folder / "files"), folder / "reward")
    return encoders.load_encoder(folder / "reward")


def test_rewards_are_the_networks_of_the_preprocessed_pictures(encoder):
    found = encoders.image_rewards(encoder, PICTURES, " A red HEART")
    tokens = torch.tensor([[2, 5, 6, 7, 3]])
    with torch.no_grad():
        expected = encoder.network(encoders.pixel_values(encoder, PICTURES), tokens, torch.ones_like(tokens))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert found.shape == (5,) and found.std() > 1e-5


def test_batches_and_watchers(encoder):
    events = []
    found = encoders.image_rewards(encoder, PICTURES, "cat", batch=BatchSize(2),
                                   watchers=[lambda event, state: events.append((event.kind, event.row, event.rows))])
    torch.testing.assert_close(found, encoders.image_rewards(encoder, PICTURES, "cat"), rtol=0, atol=1e-5)
    assert events == [("embed", 2, 5), ("embed", 4, 5), ("embed", 5, 5)]


def test_the_prompt_counts_up_to_its_35th_token(encoder):
    long = "cat " * 33
    same = encoders.image_rewards(encoder, PICTURES[:1], long)
    torch.testing.assert_close(encoders.image_rewards(encoder, PICTURES[:1], long + "hat dogs"), same)
    assert (encoders.image_rewards(encoder, PICTURES[:1], "hat dogs") - same).abs().max() > 1e-5


def test_pictures_are_cropped_and_normalised_as_clips(encoder):
    found = encoders.pixel_values(encoder, torch.ones(1, 30, 60, 3) * torch.tensor([0.48145466, 0.4578275, 0.40821073]))
    assert found.shape == (1, 3, 224, 224)
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-5)


def test_what_gives_no_rewards_is_refused(encoder, tmp_path):
    with pytest.raises(ValueError, match="no text"):
        encoders.image_rewards(encoder, PICTURES, "  ")
    with pytest.raises(ValueError, match="has no tokenizer"):
        encoders.check_reward_model(dataclasses.replace(encoder, tokenizer=None))
    with pytest.raises(ValueError, match="clip is a clip model, which gives no rewards"):
        encoders.check_reward_model(encoders.load_encoder(write_clip(tmp_path / "clip")))
    with pytest.raises(ValueError, match="is an ImageReward, which scores pictures and does not embed them"):
        encoders.embed_images(encoder, PICTURES)
