import math

import pytest
import torch

from mental_averages.dma import interpolation
from mental_averages.dma.interpolation import PathOptimizer, interpolate
from mental_averages.dma.interpolation._norm_guided import log_chi, path_cost


def noise(count, seed=0, shape=(4, 8, 8)):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dimension", [2, 16, 256])
def test_the_chi_density_sums_to_one_and_peaks_near_the_shell(dimension):
    radii = torch.linspace(1e-3, 40, 40000, dtype=torch.float64)
    density = log_chi(radii, dimension).exp()
    assert torch.trapezoid(density, radii).item() == pytest.approx(1, abs=1e-6)
    assert radii[density.argmax()].item() == pytest.approx(math.sqrt(dimension - 1), abs=0.01)


def test_the_cost_at_full_size_is_that_of_double_precision():
    """Of 16384 values the terms of log chi are 80000, whose rounding in fp32 is 0.008 for each segment."""
    shares = torch.linspace(0, 1, 4)[:, None]
    points = interpolate(noise(2, shape=(4, 64, 64)), torch.cat([1 - shares, shares], dim=1), method="slerp",
                         mean_adjustment="none").latents.flatten(1)[None]
    longest = torch.tensor([10.0])
    assert path_cost(points, longest).item() == pytest.approx(path_cost(points.double(), longest).item(), rel=1e-7)


def test_a_path_is_the_arc_on_the_shell_in_two_dimensions():
    """In a plane with both ends on the shell the likeliest path keeps near the circle, where the chord cuts inside."""
    radius = math.sqrt(255)
    ends = torch.zeros(2, 256)
    ends[0, 0], ends[1, 1] = radius, radius
    first, second = ends.reshape(2, 1, 4, 8, 8)
    found = interpolation.norm_guided_path(first, second, points=12,
                                         optimizer=PathOptimizer(iterations=300, learning_rate=0.05))
    assert torch.equal(found.latents[[0, -1]], torch.cat([first, second]))
    norms = found.latents.flatten(1).norm(dim=1)
    shares = torch.linspace(0, 1, 12)[:, None, None, None]
    chord = ((1 - shares) * first + shares * second)
    longest = 2 * (first - second).norm()[None] / 12
    cost = path_cost(chord.flatten(1)[None], longest).item()
    assert chord.flatten(1).norm(dim=1).min() < 0.75 * radius
    assert found.cost < 0.3 * cost
    assert norms.min() > 0.9 * radius and norms.max() < 1.1 * radius
    arc = interpolate(ends.reshape(2, 4, 8, 8), torch.cat([1 - shares[:, :, 0, 0], shares[:, :, 0, 0]], dim=1),
                      method="slerp", mean_adjustment="none").latents
    assert found.cost < 1.5 * path_cost(arc.flatten(1)[None], longest).item()


@pytest.mark.parametrize("count", [2, 3])
def test_a_centroid_ends_on_the_shell_in_the_direction_of_the_mean(count):
    latents = noise(count)
    optimizer = PathOptimizer(iterations=200, learning_rate=0.05, tolerance=1e-2, patience=5)
    found = interpolation.norm_guided_centroid(latents, points=8, optimizer=optimizer)
    fixed = interpolate(latents, method="fix", mean_adjustment="none").latents
    assert found.latents.shape == (1, 4, 8, 8) and math.isfinite(found.cost)
    assert found.latents.norm().item() == pytest.approx(16, rel=0.1)
    assert torch.cosine_similarity(found.latents.flatten(1), fixed.flatten(1)).item() > 0.9


def test_the_run_stops_when_the_cost_settles_and_inputs_stay():
    latents = noise(2)
    before = latents.clone()
    with torch.no_grad():
        found = interpolation.norm_guided_centroid(latents, points=5,
                                                 optimizer=PathOptimizer(iterations=500, tolerance=1e9, patience=3))
    assert found.iterations == 4 and torch.equal(latents, before)


def test_bad_input():
    with pytest.raises(ValueError, match="3 points or more"):
        interpolation.norm_guided_path(noise(1), noise(1, 1), points=2)
    with pytest.raises(ValueError, match="two single latents of one shape"):
        interpolation.norm_guided_path(noise(1), noise(1, shape=(4, 8, 9)))
    with pytest.raises(ValueError, match="two single latents"):
        interpolation.norm_guided_path(noise(2), noise(2, 1))
    with pytest.raises(ValueError, match="batch is empty"):
        interpolation.norm_guided_centroid(noise(0))
