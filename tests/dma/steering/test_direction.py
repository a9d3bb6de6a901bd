import math

import pytest
import torch

from mental_averages.dma.statistics import auroc
from mental_averages.dma.steering import direction_from


def drawn(count, mean=0.0, seed=0, width=6):
    """Features (count, C) around `mean` along the first channel, of variance 1."""
    values = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    values[:, 0] += mean
    return values


def found(positive, negative, scale="difference"):
    return direction_from({"a": (positive, negative)}, scale=scale).layers["a"]


def test_difference_of_means_and_its_scales():
    positive, negative = drawn(30, 3.0), drawn(20, seed=1)
    way = positive.double().mean(0) - negative.double().mean(0)
    deviation = math.sqrt(((positive.double() @ way).var() + (negative.double() @ way).var()) / 2) / way.norm()
    for scale, length in (("difference", way.norm()), ("unit", 1.0), ("deviation", deviation)):
        layer = found(positive, negative, scale)
        torch.testing.assert_close(layer.vector.double(), way / way.norm() * length)
        assert layer.length == pytest.approx(way.norm().item()) and layer.deviation == pytest.approx(float(deviation))
        assert layer.vector.dtype == torch.float32


def test_separation_of_gaussians_is_the_known_one():
    """d' of N(m, I) and N(0, I) along the true direction is m, its AUROC Phi(m / sqrt 2)."""
    for mean in (0.5, 2.0):
        layer = found(drawn(4000, mean), drawn(4000, seed=1))
        expected = 0.5 * (1 + math.erf(mean / 2))
        assert layer.d_prime == pytest.approx(mean, abs=0.06) and layer.auroc == pytest.approx(expected, abs=0.012)


def test_pictures_that_a_direction_was_made_of_are_not_what_it_is_judged_by():
    """In many channels any two small sets are far apart along their own difference, and nothing is known by it."""
    scores, own = [], []
    for seed in range(30):
        positive, negative = drawn(8, seed=2 * seed, width=500), drawn(8, seed=2 * seed + 1, width=500)
        layer = found(positive, negative)
        scores.append(layer.auroc)
        own.append(auroc(positive @ layer.vector, negative @ layer.vector))
    assert min(own) == 1.0 and abs(sum(scores) / len(scores) - 0.5) < 0.1


def test_two_pictures_a_set_are_enough():
    layer = found(torch.tensor([[2.0, 0.0], [3.0, 0.0]]), torch.tensor([[0.0, 0.0], [-1.0, 0.0]]))
    assert layer.auroc == 1.0 and layer.vector.tolist() == [3.0, 0.0]


def test_layers_keep_their_order_and_the_best_is_told():
    features = {name: (drawn(20, mean), drawn(20, seed=1)) for name, mean in (("b", 0.1), ("a", 50.0), ("c", 1.0))}
    direction = direction_from(features)
    assert list(direction.layers) == ["b", "a", "c"] and direction.separation == direction.layers["a"].auroc == 1.0
    assert (direction.positive, direction.negative, direction.scale) == (20, 20, "difference")


def test_order_of_pictures_within_folds_changes_the_vector_by_nothing():
    positive, negative = drawn(11, 2.0), drawn(9, seed=1)
    torch.testing.assert_close(found(positive.flip(0), negative).vector, found(positive, negative).vector)


def test_it_can_take_part_in_gradients_when_made_in_inference_mode():
    with torch.inference_mode():
        vector = found(drawn(5, 1.0), drawn(5, seed=1)).vector
    x = torch.ones(6, requires_grad=True)
    (x * vector).sum().backward()
    torch.testing.assert_close(x.grad, vector)


@pytest.mark.parametrize("positive, negative, scale, message", [
    (drawn(1), drawn(5), "unit", "positive set has 1 pictures"), (drawn(5), drawn(0), "unit", "negative set has 0"),
    (drawn(5), drawn(5, width=4, seed=1), "unit", "6 and 4 channels"), (drawn(5), drawn(5), "unit", "are the same"),
    (drawn(5) * torch.nan, drawn(5), "unit", "positive set at the layer a contain NaN"),
    (torch.ones(3, 2), torch.zeros(3, 2), "deviation", "all pictures of a set are the same"),
    (drawn(5, 1.0), drawn(5, seed=1), "norm", "scale")])
def test_what_makes_no_sense_is_refused(positive, negative, scale, message):
    with pytest.raises(ValueError, match=message):
        found(positive, negative, scale)
    with pytest.raises(ValueError, match="no layers"):
        direction_from({})


def test_of_sets_that_do_not_differ_a_layer_is_at_chance_and_the_best_of_several_above():
    generator = torch.Generator().manual_seed(0)
    apart = [direction_from({layer: tuple(torch.randn(10, 32, generator=generator) for _ in range(2))
                             for layer in "abcdef"}) for _ in range(100)]
    one = torch.tensor([each.layers["a"].auroc for each in apart]).mean()
    assert 0.45 < one < 0.55 and torch.tensor([each.separation for each in apart]).mean() > 0.65


def test_copies_are_on_one_side_where_a_direction_is_judged():
    """In many channels a direction knows the very pictures that it was made of: of two copies in two folds each is told
    by the other, and noise is taken for a difference."""
    scores = []
    for seed in range(20):
        positive, negative = (drawn(6, seed=2 * seed + each, width=500).repeat_interleave(2, 0) for each in (0, 1))
        scores.append(found(positive, negative).auroc)
    assert abs(sum(scores) / len(scores) - 0.5) < 0.15
    with pytest.raises(ValueError, match="All pictures of the negative set are the same at the layer a"):
        found(drawn(4), drawn(1, seed=1).repeat(4, 1))
