"""BestOfK."""
import pytest
import torch


@pytest.fixture
def images():
    return torch.rand(4, 8, 8, 3, generator=torch.Generator().manual_seed(3))


def test_the_best_by_given_scores(comfyui, images):
    from mental_averages.nodes.baselines import BestOfK

    image, index, score = BestOfK.execute(images, "0.1, 0.5\n0.4 0.2", "highest").args
    assert index == 1 and score == 0.5 and torch.equal(image, images[1:2])
    assert BestOfK.execute(images, "0.1, 0.5, 0.4, 0.2", "lowest").args[1:] == (0, 0.1)


def test_without_scores_the_most_typical_or_unusual(comfyui, images):
    from mental_averages.dma.hspace import Features
    from mental_averages.nodes.baselines import BestOfK, MedoidSelect

    assert BestOfK.execute(images, "", "highest").args[1] == MedoidSelect.execute(images).args[1]
    features = Features(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [1.0, -0.1]]), "middle_block", "none", 1.0)
    assert BestOfK.execute(images, " ", "lowest", features).args[1] == 2
    assert BestOfK.execute(images, "", "highest", features).args[1] == MedoidSelect.execute(images, features).args[1]


def test_a_mask_is_no_colour(comfyui, images):
    """Cut-outs are compared by what they show, and handed on as they came."""
    from mental_averages.nodes.baselines import BestOfK, MedoidSelect

    masks = torch.ones(4, 8, 8, 1)
    masks[MedoidSelect.execute(images).args[1]] = 5.0
    cut_out = torch.cat([images, masks], dim=-1)
    assert MedoidSelect.execute(cut_out).args[1] == MedoidSelect.execute(images).args[1]
    for best in ("lowest", "highest"):
        image, index, score = BestOfK.execute(cut_out, "", best).args
        assert (index, score) == BestOfK.execute(images, "", best).args[1:]
        assert torch.equal(image, cut_out[index : index + 1])


def test_cut_outs_are_compared_by_what_they_show(comfyui):
    """A drawing may be its alpha alone, and colours under an alpha of 0 are not seen."""
    from mental_averages.nodes.baselines import BestOfK, MedoidSelect

    alone = torch.zeros(4, 8, 8, 4)
    for number, row in enumerate((0, 5, 5, 6)):
        alone[number, row : row + 2, :, 3] = 1
    hidden = alone.clone()
    hidden[..., :3] = torch.rand(4, 1, 1, 3) * (1 - alone[..., 3:])
    for pictures in (alone, hidden):
        assert MedoidSelect.execute(pictures).args[1] == 1
        assert BestOfK.execute(pictures, "", "lowest").args[1] == 0


def test_bad_inputs(comfyui, images):
    from mental_averages.dma.hspace import Features
    from mental_averages.nodes.baselines import BestOfK

    with pytest.raises(ValueError, match="4 pictures but 3 scores"):
        BestOfK.execute(images, "1, 2, 3", "highest")
    with pytest.raises(ValueError, match="not a row of numbers"):
        BestOfK.execute(images, "1, 2, best, 3", "highest")
    features = Features(torch.zeros(2, 5), "middle_block", "none", 1.0)
    with pytest.raises(ValueError, match="4 pictures but features of 2"):
        BestOfK.execute(images, "", "highest", features)
    with pytest.raises(ValueError, match="only one|one of them"):
        BestOfK.execute(images, "1, 2, 3, 4", "highest", features)
    with pytest.raises(ValueError, match="empty batch"):
        BestOfK.execute(images[:0], "", "highest")
