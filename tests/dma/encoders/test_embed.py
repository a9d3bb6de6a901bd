import dataclasses

import pytest
import torch
import torch.nn.functional as F

from mental_averages.dma import encoders
from mental_averages.dma.encoders import check_folder, embed_images, embed_texts, load_encoder
from mental_averages.dma.execution import BatchSize


@pytest.mark.parametrize("kind, width", [("clip", 8), ("clip_vision_model", 8), ("siglip", 16),
                                         ("siglip_vision_model", 16), ("dinov2", 16),
                                         ("dinov2_with_registers", 16), ("blip", 16)])
def test_embeddings_are_those_of_the_library(folders, images, kind, width):
    with torch.inference_mode():  # ComfyUI loads and runs its nodes so
        encoder = load_encoder(folders[kind])
        found = embed_images(encoder, images)
    assert encoder.kind == kind == check_folder(folders[kind]) and not encoder.network.training
    assert found.shape == (5, width) and found.dtype == torch.float32 and found.device.type == "cpu"
    torch.testing.assert_close(found.norm(dim=1), torch.ones(5))
    assert torch.cdist(found, found).add(torch.eye(5)).min() > 1e-3
    pixels = encoder.processor(images=[(image * 255).round().byte().permute(2, 0, 1)
                                       for image in images], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        if kind in ("clip", "siglip"):
            features = encoder.network.get_image_features(pixel_values=pixels)
            expected = features if isinstance(features, torch.Tensor) else features.pooler_output
        elif kind == "clip_vision_model":
            expected = encoder.network(pixel_values=pixels).image_embeds
        else:
            expected = (encoder.network.vision_model if kind == "blip"
                        else encoder.network)(pixel_values=pixels).pooler_output
    torch.testing.assert_close(found, F.normalize(expected, dim=1), rtol=0, atol=0.02)  # rounding to bytes


def test_batches_and_alpha_do_not_matter(folders, images):
    encoder, heard = load_encoder(folders["clip"]), []
    watchers = [lambda event, state: heard.append((event.kind, event.row, event.rows))]
    reference = embed_images(encoder, images, watchers=watchers)
    torch.testing.assert_close(embed_images(encoder, images, batch=BatchSize(2), watchers=watchers), reference,
                               rtol=1e-5, atol=1e-5)
    assert heard == [("embed", row, 5) for row in (5, 2, 4, 5)]
    opaque = torch.cat([images, torch.ones(5, 40, 50, 1)], dim=-1)
    torch.testing.assert_close(embed_images(encoder, opaque), reference, rtol=1e-5, atol=1e-5)


def test_texts_are_those_of_the_library(folders):
    encoder = load_encoder(folders["clip"])
    tokens = encoder.tokenizer(["dark", "a"], padding=True, return_tensors="pt")
    with torch.no_grad():
        features = encoder.network.get_text_features(**tokens)
    expected = features if isinstance(features, torch.Tensor) else features.pooler_output
    torch.testing.assert_close(embed_texts(encoder, ["dark", "a"]), F.normalize(expected, dim=1))
    torch.testing.assert_close(embed_texts(encoder, ["a"])[0], embed_texts(encoder, ["dark", "a"])[1])
    with pytest.raises(ValueError, match="reads at most 12: shorten it"):
        embed_texts(encoder, ["a b c d e f g h i j k l m"])
    for kind in ("clip_vision_model", "siglip_vision_model", "dinov2", "dinov2_with_registers", "blip"):
        with pytest.raises(ValueError,
                           match=f"{kind} model, which does not compare pictures with prompts: load a CLIP or SigLIP"):
            embed_texts(load_encoder(folders[kind]), ["dark", "light"])
    with pytest.raises(ValueError, match="has no tokenizer"):
        embed_texts(load_encoder(folders["siglip"]), ["dark", "light"])


def test_a_siglip_reads_small_letters_whatever_its_tokenizer_does(folders):
    """SigLIP 2's is a Gemma's, which tells capitals apart that the network never saw."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "a": 2, "dark": 3, "A": 4, "Dark": 5}, "[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    encoder = dataclasses.replace(load_encoder(folders["siglip"]), tokenizer=PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]"))
    found = embed_texts(encoder, ["A Dark", "a dark", "dark a"])
    # The same text in two rows of a batch may be rounded otherwise, as it is without vector extensions.
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-5)
    assert (found[1] - found[2]).abs().max() > 1e-3


@pytest.mark.parametrize("bad, message",
                         [(torch.zeros(0, 8, 8, 3), r"these are \(0, 8, 8, 3\)"), (torch.zeros(8, 8, 3), "shape"),
                          (torch.full((1, 8, 8, 3), float("nan")), "NaN")])
def test_bad_pictures(folders, bad, message):
    with pytest.raises(ValueError, match=message):
        embed_images(load_encoder(folders["dinov2"]), bad)


def test_several_vectors_of_a_picture_are_averaged():
    tokens = torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[1.0, 0.0], [1.0, 0.0]]])  # (N, T, D)
    found = encoders.unit_embeddings(torch.zeros(2, 4, 4, 3), lambda pictures: tokens)
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8], [1.0, 0.0]]))


def test_running_out_of_memory_makes_batches_smaller():
    sizes, batch = [], BatchSize(4)

    def means(pictures):
        sizes.append(len(pictures))
        if len(pictures) > 2:
            raise MemoryError
        return pictures.mean(dim=(1, 2))

    assert encoders.unit_embeddings(torch.rand(5, 4, 4, 3), means, batch=batch).shape == (5, 3)
    assert sizes == [4, 2, 2, 1] and batch.value == 2
