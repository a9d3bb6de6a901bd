import pytest
import torch
from trainings import SHAPE, Toy, draws_of, small

from mental_averages.dma import training
from mental_averages.dma.diffusion import Parametrization, add_noise, denoised_from_output


@pytest.mark.parametrize("parametrization", list(Parametrization))
def test_loss_is_that_of_the_networks_own_output(parametrization):
    generator = torch.Generator().manual_seed(2)
    clean, noise, output = (torch.randn(3, *SHAPE, generator=generator, dtype=torch.float64) for _ in range(3))
    sigma = torch.tensor([0.05, 0.4, 0.95], dtype=torch.float64)
    if parametrization is Parametrization.V:
        signal, scale = 1 / (1 + sigma**2).sqrt(), sigma / (1 + sigma**2).sqrt()  # sqrt(abar), sqrt(1 - abar)
        target = signal.view(-1, 1, 1, 1) * noise - scale.view(-1, 1, 1, 1) * clean
    else:
        target = noise - clean if parametrization is Parametrization.FLOW else noise
    rows = zip(*(values.split(1) for values in (output, clean, noise)), sigma.tolist())
    denoised = torch.cat([denoised_from_output(parametrization, output_of_row,
                                               add_noise(parametrization, x0, eps, level), level)
                          for output_of_row, x0, eps, level in rows])
    found = training.denoising_loss(denoised, clean, sigma, parametrization)
    torch.testing.assert_close(found, (output - target).square().flatten(1).mean(1), rtol=1e-10, atol=1e-12)


def test_loss_is_in_fp32_for_half_precision():
    ones = torch.ones(1, 4, dtype=torch.float16)
    found = training.denoising_loss(ones, torch.zeros(1, 4), torch.tensor([1e-3]), Parametrization.EPS)
    assert found.dtype == torch.float32 and found.item() == pytest.approx(1e6)  # infinite in fp16


@pytest.mark.parametrize("parametrization", list(Parametrization))
def test_gradient_against_finite_differences(parametrization):
    toy = Toy(torch.float64, parametrization)
    step = draws_of(small())(0)
    step = training.Draw(step.rows, step.noise.double(), step.sigma.double())
    with torch.enable_grad():
        value = toy.loss(*step).mean()
        gradients = torch.autograd.grad(value, toy.parameters)
    norm = sum(gradient.square().sum() for gradient in gradients).sqrt()
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, gradient in zip(toy.parameters, gradients):
                parameter += sign * 1e-5 * gradient / norm
            values.append(toy.loss(*step).mean().item())
            for parameter, gradient in zip(toy.parameters, gradients):
                parameter -= sign * 1e-5 * gradient / norm
    assert (values[0] - values[1]) / 2e-5 == pytest.approx(norm.item(), rel=1e-7)
