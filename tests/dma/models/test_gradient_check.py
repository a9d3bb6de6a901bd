"""The gradient self-test on functions whose gradients are known, right and wrong."""
import pytest
import torch
from half_precision import LATENT, SD3_LATE, SDXL, network

from mental_averages.dma.diffusion import Parametrization
from mental_averages.dma.models import UnusableGradient, check_differentiable, check_gradient, gradient_error


class Toy:
    """A Denoiser with features of the latent that are given as a function."""

    parametrization, device = Parametrization.FLOW, torch.device("cpu")

    def __init__(self, function, dtype=torch.float32):
        self.function, self.dtype = function, dtype

    def features(self, x, sigma):
        return self.function(x.to(self.dtype)).float()


def off_by(factor):
    """tanh(2 x) whose backward pass is wrong by a factor."""
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.tanh(2 * x)

        @staticmethod
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            return factor * gradient * 2 / torch.cosh(2 * x) ** 2
    return Wrong.apply


SHAPE = (4, 8, 8)


@pytest.mark.parametrize("dtype, bound", [(torch.float32, 1e-3), (torch.bfloat16, 0.03), (torch.float16, 0.01)])
def test_right_gradients_pass_in_every_precision(dtype, bound):
    assert check_gradient(Toy(lambda x: torch.tanh(x).cumsum(-1), dtype), SHAPE, 0.7) < bound


@pytest.mark.parametrize("factor", [0.87, 1.13, -1.0, 2.0])
def test_wrong_gradients_are_refused(factor):
    assert check_gradient(Toy(off_by(1.0)), SHAPE, 0.7) < 1e-2
    with pytest.raises(ValueError, match="gradient of this model's features is wrong"):
        check_gradient(Toy(off_by(factor)), SHAPE, 0.7)


def test_features_without_a_gradient_are_refused():
    with pytest.raises(ValueError, match="cannot be differentiated"):
        check_gradient(Toy(lambda x: x.detach() ** 2), SHAPE, 0.7)
    with pytest.raises(ValueError, match="do not depend on the latent"):
        check_gradient(Toy(lambda x: 0 * x), SHAPE, 0.7)


def test_running_out_of_memory_is_not_explained_away():
    def too_large(x):
        raise MemoryError

    with pytest.raises(MemoryError):
        check_gradient(Toy(too_large), SHAPE, 0.7)


def test_the_error_is_that_of_the_gradient():
    generator = torch.Generator().manual_seed(0)
    x, other = torch.randn(2, 1, *SHAPE, generator=generator)
    assert gradient_error(Toy(off_by(1.25)), x, other, 0.7) == pytest.approx(0.2, abs=0.01)


def test_faults_of_the_gradient_can_be_told_from_other_errors():
    with pytest.raises(UnusableGradient):
        check_gradient(Toy(off_by(2.0)), SHAPE, 0.7)

    def refuses(x):
        raise ValueError("Too small a picture.")

    with pytest.raises(ValueError, match="Too small a picture") as caught:
        check_gradient(Toy(refuses), SHAPE, 0.7)
    assert not isinstance(caught.value, UnusableGradient)


def test_what_cannot_be_differentiated_is_said_with_what_cannot_be_done():
    weight = torch.ones(2, requires_grad=True)
    with torch.no_grad():
        check_differentiable(lambda: weight ** 2, [weight], "it cannot be trained")
        with pytest.raises(UnusableGradient, match=r"cannot be differentiated, so it cannot be trained \(element 0"):
            check_differentiable(lambda: weight.detach() ** 2, [weight], "it cannot be trained")
    with pytest.raises(MemoryError):
        check_differentiable(lambda: (_ for _ in ()).throw(MemoryError), [weight], "it cannot be trained")


@pytest.mark.parametrize("kind", [SDXL, SD3_LATE])
def test_large_features_of_half_precision_pass(kind):
    x, other = torch.randn(2, 1, kind[0], LATENT, generator=torch.Generator().manual_seed(2))
    assert gradient_error(Toy(network(torch.float16, *kind), torch.float16), x, other, 0.7) < 1e-3


def test_a_gradient_that_vanishes_on_its_way_is_refused():
    """2^-30 between two layers of fp16: matching stalls there, whatever enters the backward pass in its range."""
    class Vanishing(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return torch.tanh(x)

        @staticmethod
        def backward(ctx, gradient):
            return (gradient * 2.0**-30).half().float() * 2.0**30

    with pytest.raises(UnusableGradient, match="not finite, or do not depend"):
        check_gradient(Toy(Vanishing.apply), SHAPE, 0.7)
