"""CLIPGMMClusters, inside inference mode as ComfyUI runs it."""
import json
import sys

import pytest
import torch
from clusterings import PROMPTS, VISION, clusters_of, load, random_clip_vision

import pack

sys.path.insert(0, str(pack.ROOT / "tests" / "dma"))


@pytest.mark.parametrize("source", [*VISION, "clip", "dinov2", "maker/blip", "prompts"])
def test_colours_are_found_from_every_source(encoders, images, source):
    from mental_averages.nodes.modes import AttributeEmbed

    pictures, truth = images
    if source in VISION:
        change = dict(clip_vision=random_clip_vision(source))
    elif source == "prompts":
        with torch.inference_mode():
            change = dict(embeddings=AttributeEmbed.execute(pictures, load("clip"), PROMPTS).args[0])
    else:
        change = dict(image_encoder=load(source))
    clusters, sheet, scatter, bic, text = clusters_of(pictures, **change)
    assert torch.equal(clusters.labels, truth), "the colours are numbered by how many pictures they have"
    assert json.loads(text)["labels"] == truth.tolist()
    for image in (sheet, scatter, bic):
        assert image.ndim == 4 and image.shape[0] == 1 and image.shape[-1] == 3
    again = clusters_of(pictures, **change)
    assert again[4] == text and torch.equal(again[1], sheet)


def test_share_of_variance(encoders, images):
    clusters = clusters_of(images[0], reduction={"reduction": "variance",
                                                 "variance_share": 0.9}, image_encoder=load("clip"))[0]
    assert sum(clusters.explained_variance) >= 0.9 > sum(clusters.explained_variance[:-1])


def test_exactly_one_source(encoders, images):
    from mental_averages.dma.encoders import AttributeEmbeddings

    embeddings = AttributeEmbeddings(torch.randn(16, 3), ("",) * 16, {})
    with pytest.raises(ValueError, match="but none is connected"):
        clusters_of(images[0])
    with pytest.raises(ValueError, match="but image_encoder and embeddings are connected"):
        clusters_of(images[0], image_encoder=load("clip"), embeddings=embeddings)
    with pytest.raises(ValueError, match="4 pictures but embeddings of 16"):
        clusters_of(images[0][:4], embeddings=embeddings)


def test_bad_input_before_the_encoder_runs(comfyui, images):
    from mental_averages.nodes.modes import AttributeEmbed

    encoder = object()  # any use of it would fail
    one, several = {"components": "fixed", "count": 1}, {"components": "bic", "smallest": 1, "largest": 8}
    for pictures, change, message in (
            (images[0][:1], {}, "at least two pictures"),
            (images[0][:1], dict(components=one), "at least two pictures, but there is 1"),
            (images[0][:1], dict(components=several), "at least two pictures"),
            (images[0][:5], dict(components=several), "8 clusters need at least as many"),
            (images[0][:1].expand(5, -1, -1, -1), {}, "All 5 pictures are the same"),
            (images[0][:2], {}, "3 clusters need at least as many pictures"),
            (torch.zeros(0, 8, 8, 3), {}, "shape"), (images[0] * float("nan"), {}, "NaN"),
            (images[0], dict(minimum_size=17), "only 16 pictures"),
            (images[0], dict(components={"components": "bic", "smallest": 4, "largest": 2}), "from 4 to 2")):
        with pytest.raises(ValueError, match=message):
            clusters_of(pictures, image_encoder=encoder, **change)
    with pytest.raises(ValueError, match="NaN"):
        AttributeEmbed.execute(images[0] * float("nan"), encoder, PROMPTS)


def test_broken_embeddings_and_pictures_that_no_encoder_tells_apart(encoders, images):
    from mental_averages.dma.encoders import AttributeEmbeddings

    values = torch.randn(16, 3)
    values[4, 1] = float("nan")
    with pytest.raises(ValueError,
                       match=r"embedding of 1 of 16 pictures contains NaN or infinity \(first: picture 4\)"):
        clusters_of(images[0], embeddings=AttributeEmbeddings(values, ("",) * 16, {}))
    nearly = images[0][:1].repeat(5, 1, 1, 1)
    nearly[1, 0, 0, 0] += 1e-6
    with pytest.raises(ValueError, match="All 5 pictures have the same embedding"):
        clusters_of(nearly, image_encoder=load("clip"))


def representation(truth, count=None):
    """A representation of three kinds of pictures at two noise levels."""
    from mental_averages.dma.representation import Representation

    rows = 5 * torch.eye(3)[truth] + 0.01 * torch.randn(len(truth), 3, generator=torch.Generator().manual_seed(1))
    means = rows.view(len(truth), 1, 3).expand(-1, 2, -1)[:count]
    return Representation(means, "middle_block", (2.0, 1.0), 4, 0, "mean", (4, 8, 8), torch.ones(2, 16))


@pytest.mark.parametrize("method", ["gaussian mixture", "k-means"])
def test_a_representation_takes_the_place_of_an_encoder(comfyui, images, method):
    from comfy_execution.graph_utils import ExecutionBlocker

    pictures, truth = images
    three = {"components": "fixed", "count": 3}
    clusters, sheet, scatter, bic, text = clusters_of(pictures, representation=representation(truth), components=three,
                                                      method=method)
    assert torch.equal(clusters.labels, truth) and json.loads(text)["settings"]["method"] == method
    assert (isinstance(bic, ExecutionBlocker) and bic.message is None) == (method == "k-means")
    assert sheet.ndim == scatter.ndim == 4
    assert "members" in json.loads(text)["clusters"][0]


def test_representations_of_other_pictures_and_k_means_without_a_number_are_refused(comfyui, images):
    pictures, truth = images
    with pytest.raises(ValueError, match="16 pictures but a representation of 4.*to ChannelMeans"):
        clusters_of(pictures, representation=representation(truth, 4))
    with pytest.raises(ValueError, match="set components to fixed"):
        clusters_of(pictures, {"components": "bic", "smallest": 1, "largest": 4},
                    representation=representation(truth), method="k-means")
    with pytest.raises(ValueError, match="embeddings and representation, but clip_vision and representation are"):
        clusters_of(pictures, representation=representation(truth), clip_vision=object())
