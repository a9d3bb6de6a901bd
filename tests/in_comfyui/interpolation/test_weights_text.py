"""Mixing weights as text: what MixingWeights writes is what ChannelMeanInterpolate reads."""
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

from mental_averages.dma import interpolation

many = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def texts(comfyui):
    from mental_averages.nodes.interpolation import _weights_text

    return _weights_text


@many
@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 1000))
def test_text_is_read_back(texts, count, rows, seed):
    weights = interpolation.random_weights(count, rows, seed=seed)
    found = texts.parse_weights(texts.weights_to_text(weights), count)
    torch.testing.assert_close(found, weights, rtol=0, atol=1e-5)


def test_text_as_people_write_it(texts):
    expected = torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
    assert torch.equal(texts.parse_weights("# start, end\n1;0\n\n 0.5,0.5  # the middle\n", 2), expected)
    assert torch.equal(texts.parse_weights("  \n# nothing\n", 4), torch.full((1, 4), 0.25, dtype=torch.float64))
    torch.testing.assert_close(texts.parse_weights("0.333 0.333 0.333", 3),
                               torch.full((1, 3), 1 / 3, dtype=torch.float64))


@pytest.mark.parametrize("text, message", [
    ("1 0\n0.5 x", "Line 2 of the weights is not a row of numbers"),
    ("1 0 0", "Line 1 of the weights has 3 numbers, but there are 2"),
    ("1 0\n1", "Line 2 of the weights has 1 numbers"),
    ("1.5 -0.5", "Row 1 of the weights contains the negative weight -0.5"),
    ("1 0\nnan 1", "Row 2 of the weights contains NaN"), ("inf 0", "Row 1 of the weights contains NaN or infinity"),
    ("1 0\n0 0", "Row 2 of the weights is all zero"),
])
def test_bad_text(texts, text, message):
    with pytest.raises(ValueError, match=message):
        texts.parse_weights(text, 2)


@many
@given(st.integers(1, 100).flatmap(lambda count: st.tuples(st.just(count),
                                                           st.lists(st.integers(1, count), min_size=1, max_size=5))))
def test_rows_of_the_first_inputs_are_read_back(texts, drawn):
    count, numbers = drawn
    rows = interpolation.first_weights(count, numbers)
    found = texts.parse_weights(texts.weights_to_text(rows), count)
    torch.testing.assert_close(found, rows, rtol=0, atol=1e-5)


def test_numbers_are_written_without_idle_zeros(texts):
    assert texts.weights_to_text(torch.tensor([[1.0, 0.0], [0.25, 0.75]])) == "1 0\n0.25 0.75"
