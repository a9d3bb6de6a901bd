import torch
from peak_memory import largest_made_by

from mental_averages.dma import baselines


def test_medoid_is_the_row_with_the_least_summed_distance():
    rows = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
    unit = rows / rows.norm(dim=1, keepdim=True)
    distances = 1 - unit @ unit.T
    assert baselines.medoid(rows) == int(distances.sum(1).argmin())
    assert baselines.medoid(torch.ones(3, 4)) == 0


def test_large_rows_are_compared_some_at_a_time():
    rows = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
    expected = baselines.medoid(rows)
    wide = torch.nn.functional.pad(rows, (0, 2**21))
    assert baselines.medoid(wide) == expected


def test_no_copy_of_all_pictures_is_made():
    """In fp64, 1000 pictures of 512 x 512 would be 6 GB, and their unit rows as much again."""
    pictures = torch.rand(24, 512, 512, 3)
    assert largest_made_by(lambda: baselines.medoid(pictures)) <= 2**25 < pictures.nbytes / 2
