import pytest
import torch

from mental_averages.dma.metrics import prompt_similarity, typicality

ROWS = torch.tensor([[1.0, 0.0], [3.0, 3.0], [0.0, 2.0]])


def test_it_is_the_cosine_with_the_own_text_or_that_of_all():
    assert prompt_similarity(ROWS, torch.tensor([[0.0, 5.0]])).tolist() == pytest.approx([0, 0.5**0.5, 1])
    assert prompt_similarity(ROWS, ROWS.flip(0)).tolist() == pytest.approx([0, 1, 0])


@pytest.mark.parametrize("texts", [torch.ones(2, 2), torch.ones(1, 3)])
def test_texts_that_do_not_fit_are_refused(texts):
    with pytest.raises(ValueError, match="do not fit"):
        prompt_similarity(ROWS, texts)


def test_the_most_typical_is_the_medoid():
    rows = torch.randn(9, 5, generator=torch.Generator().manual_seed(0)) + 0.5
    from mental_averages.dma.baselines import medoid

    unit = torch.nn.functional.normalize(rows, dim=1)
    assert typicality(rows, rows, own=torch.eye(9)).argmax() == medoid(unit)


def test_typicality_is_the_mean_cosine_with_the_others():
    found = typicality(ROWS, ROWS, own=torch.eye(3))
    assert found.tolist() == pytest.approx([0.5**0.5 / 2, 0.5**0.5, 0.5**0.5 / 2])
    assert typicality(ROWS[:1], ROWS[1:]).item() == pytest.approx(found[0].item())


def test_a_picture_alone_is_not_typical():
    with pytest.raises(ValueError, match="takes another one"):
        typicality(ROWS[:1], ROWS[:1], own=torch.ones(1, 1))


def test_how_typical_many_pictures_are_takes_no_matrix_of_all_pairs():
    """The sum of the reference's rows is enough: 100 000 pictures beside as many would take 80 GB."""
    rows = torch.randn(100_000, 4, generator=torch.Generator().manual_seed(0))
    found = typicality(rows, rows)
    expected = torch.nn.functional.cosine_similarity(rows[:1].double(), rows.double()).mean()
    assert found[0].item() == pytest.approx(expected.item(), abs=1e-9)
