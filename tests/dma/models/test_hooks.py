"""Forward passes that end at a layer leave nothing behind."""
import pytest
import torch

from mental_averages.dma.models import output_of, outputs_of


class Network(torch.nn.Module):
    """Three layers that count how often they run; a hurdle between them swallows every Exception."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(3, 3) for _ in range(3))
        self.runs = [0, 0, 0]

    def forward(self, x):
        for index, layer in enumerate(self.layers):
            self.runs[index] += 1
            try:
                x = layer(x)
            except Exception:
                x = torch.zeros_like(x)
        return x


def hooks_of(network):
    return [module for module in network.modules() if module._forward_hooks]


def test_the_pass_ends_at_the_layer_with_what_it_returns():
    network, x = Network(), torch.randn(2, 3)
    found = output_of(network.layers[1], lambda: network(x))
    assert torch.equal(found, network.layers[1](network.layers[0](x)))
    assert network.runs == [1, 1, 0] and not hooks_of(network)


def test_gradients_flow_through_what_was_found():
    network, x = Network(), torch.randn(2, 3, requires_grad=True)
    (found,) = torch.autograd.grad(output_of(network.layers[1], lambda: network(x)).sum(), x)
    (expected,) = torch.autograd.grad(network.layers[1](network.layers[0](x)).sum(), x)
    assert torch.equal(found, expected)


def test_a_layer_that_does_not_run_gives_nothing():
    network = Network()
    assert output_of(torch.nn.Identity(), lambda: network(torch.ones(1, 3))) is None
    assert network.runs == [1, 1, 1]


@pytest.mark.parametrize("read", [output_of, lambda layer, forward: outputs_of([(layer, print)], forward)])
def test_an_error_on_the_way_takes_the_hooks_with_it(read):
    network = Network()

    def forward():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read(network.layers[0], forward)
    assert not hooks_of(network)


def test_several_layers_are_heard_of_in_the_order_in_which_they_run():
    network, x, heard = Network(), torch.randn(2, 3), []
    outputs_of([(network.layers[1], lambda output: heard.append((1, output))),
                (network.layers[0], lambda output: heard.append((0, output)))], lambda: network(x))
    assert [index for index, _ in heard] == [0, 1] and network.runs == [1, 1, 0] and not hooks_of(network)
    assert torch.equal(heard[1][1], network.layers[1](heard[0][1]))


def test_a_layer_that_never_runs_does_not_end_the_pass():
    network, heard = Network(), []
    outputs_of([(network.layers[0], heard.append), (torch.nn.Identity(), heard.append)],
               lambda: network(torch.ones(1, 3)))
    assert len(heard) == 1 and network.runs == [1, 1, 1]
