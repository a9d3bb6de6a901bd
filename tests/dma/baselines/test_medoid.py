import torch

from mental_averages.dma import baselines


def test_medoid_is_the_row_with_the_least_summed_distance():
    rows = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
    unit = rows / rows.norm(dim=1, keepdim=True)
    distances = 1 - unit @ unit.T
    assert baselines.medoid(rows) == int(distances.sum(1).argmin())
    assert baselines.medoid(torch.ones(3, 4)) == 0
