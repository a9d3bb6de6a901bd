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


def of_batches(denoiser):
    """Values that are wrong in ways that would not be seen in a mean."""
    def values(rows):
        found = {"features": denoiser.features(torch.ones(rows.stop - rows.start, 2, 3, 3), 2.0)}
        return found if rows.start < 32 else {**found, "more": found["features"]}

    return values


def one_for_all(denoiser):
    return lambda rows: {"mean": torch.ones(1, 3)}


@pytest.mark.parametrize("start, stop", [(16, 16), (0, 0), (32, 16), (8, 40)])
def test_ranges_that_are_none_are_refused_before_the_model_is_asked(start, stop):
    denoiser = LinearGaussian()
    with pytest.raises(ValueError, match=f"Moments of the rows {start} to {stop} cannot be taken"):
        moments(start, stop, denoiser=denoiser)
    assert denoiser.feature_rows == 0


def test_trees_that_cannot_go_on_are_refused_and_finished_ones_are_done():
    denoiser, trees = LinearGaussian(), moments()
    assert moments(denoiser=denoiser, trees=trees) is trees and denoiser.feature_rows == 0
    with pytest.raises(ValueError, match=f"moments of the rows 0 to {COUNT}, which do not go on to 96"):
        moments(0, 96, trees=trees)
    with pytest.raises(ValueError, match=f"moments of the rows 0 to {COUNT}, which do not go on to {2 * COUNT}"):
        moments(0, 2 * COUNT, trees=trees)
    with pytest.raises(ValueError, match="tree of features holds RunningMoments, but kinds says PairedMoments"):
        drive(map_moments(LinearGaussian(), FEATURES, 0, COUNT, batch=BatchSize(8), trees=moments(0, 96),
                          kinds={"features": PairedMoments}), None)


def test_values_that_are_not_of_their_rows_are_refused():
    with pytest.raises(ValueError, match="gave features, more, but those before features"):
        drive(map_moments(LinearGaussian(), of_batches, 0, 64, batch=BatchSize(16)), None)
    with pytest.raises(ValueError, match="gave 1 rows of mean for the rows 0 to 16"):
        drive(map_moments(LinearGaussian(), one_for_all, 0, 64, batch=BatchSize(16)), None)
