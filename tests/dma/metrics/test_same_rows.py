"""Pictures that are in a reference, too: number by number, whatever their margins."""
import torch

from mental_averages.dma.metrics import own_pictures, same_rows


def test_pictures_of_other_sizes_are_not_the_same():
    assert not same_rows(torch.ones(2, 3, 3), torch.ones(4, 2, 2)).any()
    # Equal sums of other numbers.
    assert not same_rows(torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 1.0]])).any()


def test_single_picture_is_found_in_its_batch():
    """Sums over one row and over many are rounded differently on several threads; the comparison must not be."""
    pictures = torch.rand(12, 256, 256, 3, generator=torch.Generator().manual_seed(0)) ** 3
    for row, picture in enumerate(pictures):
        assert same_rows(picture[None], pictures)[0].nonzero().tolist() == [[row]]
    white = torch.ones(3, 64, 64, 3)
    white[1, 31, 30, 1] = 0.0
    assert same_rows(white[:2], white).tolist() == [[True, False, True], [False, True, False]]


def test_numbers_count_and_not_how_they_are_written():
    zeros = torch.zeros(2, 3)
    assert same_rows(-zeros[:1], zeros).tolist() == [[True, True]]
    assert same_rows(torch.ones(1, 3, dtype=torch.float16), torch.ones(1, 3)).tolist() == [[True]]
    assert same_rows(torch.full((1, 3), 0.1, dtype=torch.float16), torch.full((1, 3), 0.1)).tolist() == [[False]]


def test_each_picture_is_looked_at_once(monkeypatch):
    """Pictures on a plain ground are the same at most places; every pair of them would be hours of many."""
    pictures = torch.ones(40, 16, 16, 3)
    pictures[:, 8, 8, 1] = torch.arange(40) / 40
    looks, usual = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda values: looks.append(values.shape) or usual(values))
    monkeypatch.setattr(torch, "equal", lambda *both: looks.append(both))
    assert same_rows(pictures[:20], pictures).nonzero().tolist() == [[row, row] for row in range(20)]
    assert looks == 60 * [(16, 16, 3)]


def test_transparency_is_no_difference():
    pictures = torch.rand(4, 8, 8, 4, generator=torch.Generator().manual_seed(0))
    assert own_pictures(pictures[1:2], pictures[..., :3]).tolist() == [[False, True, False, False]]
