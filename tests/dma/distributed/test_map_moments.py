import pytest
import torch
from ray_toys import FEATURES
from toys import LinearGaussian

from mental_averages.dma.diffusion import starting_noise
from mental_averages.dma.distributed import map_moments
from mental_averages.dma.execution import BatchSize, drive
from mental_averages.dma.statistics import BLOCK, PairedMoments, RunningMoments

COUNT = 200
KINDS = {"noise": PairedMoments}


def moments(start=0, stop=COUNT, size=BLOCK, denoiser=None, **kinds):
    return drive(map_moments(denoiser or LinearGaussian(), FEATURES, start, stop, batch=BatchSize(size), kinds=KINDS,
                             **kinds), None)


def same(one, other):
    return all(numbers == other[name].packed()[1] and all(torch.equal(value, other[name].packed()[0][key])
                                                          for key, value in tensors.items())
               for name, (tensors, numbers) in ((name, tree.packed()) for name, tree in one.items()))


def test_they_are_the_moments_of_what_the_rows_give():
    found = moments()
    noise = starting_noise(COUNT, (2, 3, 3), 5)
    features = LinearGaussian().features(noise, 2.0).double()
    assert {name: tree.kind for name, tree in found.items()} == {"features": RunningMoments, "noise": PairedMoments}
    torch.testing.assert_close(found["features"].moments().mean, features.mean(0), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(found["features"].moments().variance, features.var(0), rtol=1e-5, atol=0)
    torch.testing.assert_close(found["noise"].moments().mean, noise.double().mean(0))


@pytest.mark.parametrize("edges", [(0, 96, COUNT), (0, 16, 32, 112, COUNT)])
def test_parts_of_the_rows_merge_to_the_same_bit(edges):
    whole, merged = moments(), None
    for start, stop in zip(edges, edges[1:]):
        part = moments(start, stop)
        if merged is None:
            merged = part
        else:
            for name, tree in part.items():
                merged[name].merge(tree)
    assert same(merged, whole)


@pytest.mark.parametrize("size", [1, 7, 32, 1000])
def test_blocks_are_the_same_for_every_batch(size):
    """The noise goes through no network, whose rounding depends on the batch."""
    one, other = moments(size=size)["noise"], moments()["noise"]
    assert same({"noise": one}, {"noise": other})
    denoiser = LinearGaussian()
    moments(size=size, denoiser=denoiser)
    assert denoiser.largest_batch <= size and denoiser.feature_rows == COUNT


def test_what_was_interrupted_goes_on_where_it_was():
    denoiser, trees, told = LinearGaussian(), {}, []
    for event in map_moments(denoiser, FEATURES, 0, COUNT, batch=BatchSize(BLOCK), kinds=KINDS, trees=trees):
        told.append((event.row, event.rows))
        if event.row == 64:
            break
    assert told == [(16, COUNT), (32, COUNT), (48, COUNT), (64, COUNT)] and trees["noise"].stop == 64
    again = LinearGaussian()
    assert same(moments(denoiser=again, trees=trees), moments()) and again.feature_rows == COUNT - 64


def test_what_belongs_to_other_rows_or_to_nothing_is_refused():
    with pytest.raises(ValueError, match="The tree of features has rows 32 to 96, but is to go on with rows 0 to 96"):
        moments(trees=moments(32, 96))
    uneven = moments(0, 96)
    uneven["noise"] = moments(0, 64)["noise"]
    with pytest.raises(ValueError, match="The tree of noise has rows 0 to 64"):
        moments(trees=uneven)
    with pytest.raises(ValueError, match="kinds names nois, but there is only features, noise"):
        drive(map_moments(LinearGaussian(), FEATURES, 0, 32, batch=BatchSize(8), kinds={"nois": PairedMoments}), None)


@pytest.mark.parametrize("size", [5, BLOCK, 40])
def test_workers_give_the_same_bits(workers, size):
    found = [moments(size=size, denoiser=denoiser) for denoiser in (workers.denoiser(), None)]
    assert same(*found)
