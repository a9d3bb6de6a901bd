import torch

from mental_averages.dma.metrics import pictures_key


def test_a_key_is_that_of_the_numbers():
    pictures = torch.rand(3, 4, 5, 3, generator=torch.Generator().manual_seed(0))
    key = pictures_key(pictures)
    assert len(key) == 16 and key == pictures_key(pictures.clone()) == pictures_key(pictures.double())
    assert key == pictures_key(pictures.flip(0).flip(0)) == pictures_key(torch.cat([pictures, pictures], 2)[:, :, :5])
    changed = pictures.clone()
    changed[2, 1, 1, 0] += 1e-3
    others = [changed, pictures.flip(0), pictures[:2], pictures.reshape(3, 5, 4, 3)]
    assert len({key, *map(pictures_key, others)}) == 5
