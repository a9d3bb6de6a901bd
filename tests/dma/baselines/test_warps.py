"""Warps of pictures, by what they do to a picture that is known at every place."""
import math

import pytest
import torch

from mental_averages.dma.baselines._warps import centred, linear_parts, warped


def smooth(x, y):
    """A picture as a function of places."""
    return torch.sin(3 * x + 0.4) + torch.cos(2 * y - 0.3) * x


def places(height, width):
    longer = max(height, width)
    rows, columns = ((2 * torch.arange(size) + 1 - size) / longer for size in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return x, y


@pytest.mark.parametrize("height, width", [(80, 80), (60, 90)])
def test_a_similarity_takes_from_where_it_says(height, width):
    x, y = places(height, width)
    scale, angle, right, down = 0.8, 0.3, 0.05, -0.08
    found = warped(smooth(x, y)[None, None], torch.tensor([[math.log(scale), angle, right, down]]))[0, 0]
    sources = (scale * (math.cos(angle) * x - math.sin(angle) * y) + right,
               scale * (math.sin(angle) * x + math.cos(angle) * y) + down)
    inside = (sources[0].abs() < x.max()) & (sources[1].abs() < y.max())
    assert inside.float().mean() > 0.8
    torch.testing.assert_close(found[inside], smooth(*sources)[inside], rtol=0, atol=2e-3)


def test_a_flow_displaces_before_the_similarity():
    x, y = places(80, 80)
    flow = torch.tensor([0.1, -0.05]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    found = warped(smooth(x, y)[None, None], torch.tensor([[0.0, math.pi / 2, 0.0, 0.0]]), flow)[0, 0]
    sources = -(y - 0.05), x + 0.1
    inside = (sources[0].abs() < x.max()) & (sources[1].abs() < y.max())
    torch.testing.assert_close(found[inside], smooth(*sources)[inside], rtol=0, atol=2e-3)


def test_nothing_moves_nothing():
    pictures = torch.rand(3, 3, 17, 23)
    found = warped(pictures, torch.zeros(3, 4), torch.zeros(3, 2, 5, 5))
    torch.testing.assert_close(found, pictures, rtol=0, atol=1e-5)


def test_centred_warps_do_nothing_on_average_and_differ_as_before():
    similarities = 0.3 * torch.randn(6, 4, generator=torch.Generator().manual_seed(1)) + 0.2
    found = centred(similarities)
    torch.testing.assert_close(found.mean(0), torch.zeros(4), rtol=0, atol=1e-6)

    def matrices(rows):
        last = torch.tensor([0.0, 0.0, 1.0]).expand(len(rows), 1, 3)
        return torch.cat([torch.cat([linear_parts(rows), rows[:, 2:, None]], 2), last], 1)

    # T_k C^-1: from one to the other it is one and the same warp for all.
    common = matrices(found).inverse() @ matrices(similarities)
    torch.testing.assert_close(common, common[:1].expand_as(common), rtol=0, atol=1e-5)
