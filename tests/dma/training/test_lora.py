"""Low-rank adapters of single layers, against a plain change of their weights."""
import pytest
import torch
from torch import nn

from mental_averages.dma.training import matrix_size, new_adapters, parameters_of

LAYERS = {"linear": lambda: nn.Linear(5, 7), "1d": lambda: nn.Conv1d(4, 6, 3, padding=1),
          "2d": lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1), "3d": lambda: nn.Conv3d(4, 6, (1, 3, 3), dilation=2)}
INPUTS = {"linear": (2, 5), "1d": (2, 4, 9), "2d": (2, 4, 9, 8), "3d": (2, 4, 3, 9, 8)}


@pytest.mark.parametrize("kind", LAYERS)
def test_an_adapter_is_a_low_rank_change_of_the_weight(kind):
    torch.manual_seed(0)
    layer, x = LAYERS[kind]().double(), torch.randn(INPUTS[kind], dtype=torch.float64)
    adapter, = new_adapters({kind: layer}, 2, 3.0, seed=1)
    adapter.down, adapter.up = adapter.down.detach().double(), torch.randn_like(adapter.up, dtype=torch.float64)
    expected = layer(x) + adapter(x)
    change = 1.5 * adapter.up.flatten(1) @ adapter.down.flatten(1)
    assert matrix_size(layer) == change.shape and torch.linalg.matrix_rank(change) == 2
    with torch.no_grad():
        layer.weight += change.view_as(layer.weight)
    torch.testing.assert_close(layer(x), expected)


def test_start_changes_nothing_and_depends_on_the_seed_alone():
    layers = {kind: make() for kind, make in LAYERS.items()}
    torch.manual_seed(5)  # the global generator plays no part
    first, again, other = (new_adapters(layers, 2, 1.0, seed=seed) for seed in (1, 1, 2))
    for one, same, another in zip(first, again, other):
        assert torch.equal(one.down, same.down) and not torch.equal(one.down, another.down)
        assert not one.up.any() and one.scale == 0.5 and one.down.dtype == torch.float32
        assert one.down.abs().max() <= one.down[0].numel()**-0.5
        assert one.down.shape == (2, *one.layer.weight.shape[1:]) and one.up.shape[:2] == (len(one.layer.weight), 2)


def test_parameters_are_leaves_in_order():
    adapters = new_adapters({kind: make() for kind, make in LAYERS.items()}, 1, 1.0)
    found = parameters_of(adapters)
    assert len(found) == 2 * len(LAYERS) and found[2] is adapters[1].down and found[3] is adapters[1].up
    assert all(value.is_leaf and value.requires_grad for value in found)


def test_layers_that_adapters_are_not_made_for():
    for layer in (nn.LayerNorm(4), nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 3, padding_mode="circular")):
        assert matrix_size(layer) is None


def test_the_precision_is_that_of_the_input():
    adapter, = new_adapters({"linear": nn.Linear(5, 7)}, 1, 1.0)
    assert adapter(torch.zeros(1, 5, dtype=torch.bfloat16)).dtype == torch.bfloat16
