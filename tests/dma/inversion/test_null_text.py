"""Null-text optimisation on a guided model that is linear in its unconditional embedding."""
import dataclasses
import math

import pytest
import torch

from mental_averages.dma.diffusion import Parametrization
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.inversion import (
    Inversion,
    InversionReport,
    NullText,
    invert,
    optimise_null_text,
    pivot_loss,
    sample_back,
    way_back,
)


class Guided:
    """x0 = u + w (c - u) with c = tanh(x) / 2 and u = x / 3 + embedding weights on fixed patterns."""

    device, parametrization = torch.device("cpu"), Parametrization.EPS

    def __init__(self, guidance, dtype=torch.float32):
        self.guidance = guidance
        mixed = torch.linalg.qr(torch.randn(18, 18, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
        self.patterns = mixed.to(dtype).view(18, 2, 3, 3)

    def unconditional_embedding(self):
        return torch.zeros(1, 2, 9)

    def denoise_with(self, x, sigma, embedding):
        unconditional = x / (3 + sigma) + torch.einsum("be,echw->bchw", embedding.flatten(1).expand(len(x), -1),
                                                       self.patterns)
        return unconditional + self.guidance * (torch.tanh(x) / 2 - unconditional)

    def denoise(self, x, sigma):
        return self.denoise_with(x, sigma, self.unconditional_embedding())


SIGMAS = torch.tensor([6.0, 2.5, 1.0, 0.4, 0.1, 0.0])


@pytest.fixture
def pivot():
    clean = torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    return invert(Guided(1.0), clean, SIGMAS, measure=False, whole=True).trajectory


def optimised(denoiser, pivot, settings, **options):
    inverted = Inversion(pivot, InversionReport({}, [], calls=5.0))
    return optimise_null_text(denoiser, inverted, settings=settings, **options)


def loss_of(denoiser, trajectory):
    found = sample_back(denoiser, trajectory.noise, SIGMAS)
    return (found - trajectory.latents[0]).flatten(1).norm(dim=1)


def test_way_back_holds_at_high_guidance(pivot):
    guided = Guided(7.5)
    found = optimised(guided, pivot, NullText(iterations=200, learning_rate=0.02, tolerance=0, tolerance_rise=0))
    restored = way_back(guided, pivot.noise, found.trajectory)
    after = (restored - pivot.latents[0]).flatten(1).norm(dim=1)
    assert (after < 0.3 * loss_of(guided, pivot)).all()
    assert found.trajectory.companion.shape == (3, 5, 2, 9)
    assert torch.equal(found.trajectory.latents, pivot.latents[[0, -2, -1]])
    expected = after / pivot.latents[0].flatten(1).norm(dim=1)
    assert found.report.round_trip.relative == pytest.approx(expected.tolist(), rel=2e-2, abs=1e-6)
    assert found.report.steps[0].residual == pytest.approx(expected.tolist(), rel=2e-2, abs=1e-6)


def test_first_iteration_is_adam_with_the_rate_of_the_method(pivot):
    guided = Guided(7.5)
    found = optimised(guided, pivot, NullText(iterations=1, tolerance=0, tolerance_rise=0), measure=False)
    embedding = torch.zeros(3, 2, 9, requires_grad=True)
    loss, _ = pivot_loss(guided, pivot.latents[-1], 6.0, 2.5, pivot.latents[-2], embedding)
    loss.sum().backward()
    # The first step of Adam is its rate times the sign of the gradient; where that is no better, nothing moves.
    moved = found.trajectory.companion[:, -1]
    for row in range(3):
        expected = -1e-2 * embedding.grad[row].sign() if moved[row].any() else torch.zeros(2, 9)
        torch.testing.assert_close(moved[row], expected, rtol=1e-3, atol=1e-6)
    assert moved.any()
    change = (found.trajectory.companion[:, 0] - found.trajectory.companion[:, 1]).abs()
    assert change.max() == pytest.approx(1e-2 * (1 - 4 / 10), rel=1e-3)


def test_gradient_against_central_differences(pivot):
    guided = Guided(7.5, torch.float64)
    x, aim = pivot.latents[3].double(), pivot.latents[2].double()
    embedding = torch.randn(3, 2, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    measure = lambda value: pivot_loss(guided, x, 1.0, 0.4, aim, value)[0].sum()  # noqa: E731
    leaf = embedding.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(measure(leaf), leaf)
    for place in [(0, 0, 0), (1, 1, 2), (2, 0, 1)]:
        offset = torch.zeros_like(embedding)
        offset[place] = 1e-6
        difference = (measure(embedding + offset) - measure(embedding - offset)) / 2e-6
        assert difference.item() == pytest.approx(gradient[place].item(), rel=1e-6)


def test_a_batch_gives_what_its_latents_give_alone(pivot):
    guided, settings = Guided(5.0), NullText(iterations=6, tolerance=1e-3)
    together = optimised(guided, pivot, settings, batch=BatchSize(2))
    for row in range(3):
        alone = optimised(guided, dataclasses.replace(pivot, latents=pivot.latents[:, row : row + 1]), settings)
        torch.testing.assert_close(alone.trajectory.companion[0], together.trajectory.companion[row], rtol=1e-4,
                                   atol=1e-6)
        assert [step.iterations[0] for step in alone.report.steps] == [step.iterations[row]
                                                                       for step in together.report.steps]


def test_it_stops_at_the_tolerance_and_never_does_harm(pivot):
    guided = Guided(7.5)
    none = optimised(guided, pivot, NullText(tolerance=math.inf))
    assert all(step.iterations == [0, 0, 0] for step in none.report.steps) and not none.trajectory.companion.any()
    torch.testing.assert_close(way_back(guided, pivot.noise, none.trajectory),
                               sample_back(guided, pivot.noise, SIGMAS))
    wild = optimised(guided, pivot, NullText(iterations=2, learning_rate=100.0))
    assert not wild.trajectory.companion.any()
    assert none.report.calls == 10


def test_embeddings_are_needed_and_belong_to_their_latents(pivot):
    found = optimised(Guided(3.0), pivot, NullText(iterations=1), measure=False).trajectory
    with pytest.raises(ValueError, match="null_text needs for 3 latents, but latent 1 of 1 is none"):
        way_back(Guided(3.0), pivot.noise.mean(0, keepdim=True), found)
    with pytest.raises(ValueError, match="without its unconditional embeddings"):
        sample_back(Guided(3.0), pivot.noise, SIGMAS, method=NullText())


def test_every_finished_batch_is_heard_of_and_the_costs_of_the_pivot_are_counted_in(pivot):
    heard = []
    inverted = Inversion(pivot, InversionReport({}, [], calls=5.0, seconds=100.0))
    found = optimise_null_text(Guided(3.0), inverted, settings=NullText(iterations=1), batch=BatchSize(2),
                               watchers=[lambda event, state: heard.append(event)])
    assert [(event.kind, event.amount, event.row, event.rows) for event in heard if not event.iteration] == (
        5 * [("fit", 2, 2, 3), ("fit", 1, 3, 3)] + 5 * [("descend", 2, 2, 3), ("descend", 1, 3, 3)])
    assert 100 < found.report.seconds < 160
    assert found.report.settings["sigmas"] == SIGMAS.flip(0).tolist()


def test_every_iteration_is_told_of(pivot):
    heard = []
    optimised(Guided(3.0), pivot, NullText(iterations=3, tolerance=0.0, tolerance_rise=0.0), batch=BatchSize(2),
              measure=False, watchers=[lambda event, state: heard.append(event)])
    assert [(event.row, event.iteration) for event in heard] == 5 * [
        (0, 1), (0, 2), (0, 3), (2, 0), (2, 1), (2, 2), (2, 3), (3, 0)]
    assert [event.under_way for event in heard[:8]] == [0.5, 1.0, 1.5, 0, 0.25, 0.5, 0.75, 0]


class Overflowing(torch.autograd.Function):
    """Nothing on its way forwards, and in 16 bits on its way back."""

    @staticmethod
    def forward(context, values):
        return values.clone()

    @staticmethod
    def backward(context, gradient):
        return (gradient * 1e7).half().float() / 1e7


def test_passes_that_are_taken_again_because_of_an_overflow_are_counted(pivot):
    calls = []

    class Half(Guided):
        def denoise_with(self, x, sigma, embedding):
            calls.append(len(x))
            return super().denoise_with(x, sigma, Overflowing.apply(embedding))

    pivot = dataclasses.replace(pivot, latents=pivot.latents[:, :1])
    found = optimised(Half(7.5), pivot, NullText(iterations=3, tolerance=0, tolerance_rise=0), measure=False)
    usual = sum(sum(step.iterations) + 1 for step in found.report.steps)
    assert found.report.calls == 5 + len(calls) > 5 + usual


@pytest.mark.parametrize("beyond", [math.nan, math.inf])
def test_embeddings_that_lead_to_no_numbers_are_taken_back(pivot, beyond):
    """The first step of Adam, of the size of its rate, goes where the model has no answer; shorter ones do not."""
    small = NullText(iterations=200, learning_rate=0.02, tolerance=0, tolerance_rise=0)
    wall = 1.5 * optimised(Guided(7.5), pivot, small, measure=False).trajectory.companion.abs().max()

    class Walled(Guided):
        def denoise_with(self, x, sigma, embedding):
            outside = (embedding.abs().flatten(1).amax(1) > wall).expand(len(x))
            return torch.where(outside[:, None, None, None], beyond, super().denoise_with(x, sigma, embedding))

    guided, large = Walled(7.5), dataclasses.replace(small, learning_rate=4 * wall.item())
    found = optimised(guided, pivot, large, measure=False).trajectory
    after = (way_back(guided, pivot.noise, found) - pivot.latents[0]).flatten(1).norm(dim=1)
    assert (after < 0.5 * loss_of(guided, pivot)).all(), after / loss_of(guided, pivot)


def test_a_pivot_without_what_lies_between_is_refused(pivot):
    short = invert(Guided(1.0), pivot.latents[0], SIGMAS, measure=False).trajectory
    with pytest.raises(ValueError, match="has 6 noise levels, but latents of 3 of them: invert with whole=True"):
        optimised(Guided(7.5), short, NullText(iterations=1))


def test_no_numbers_at_all_are_an_error_that_names_the_step(pivot):
    class Broken(Guided):
        def denoise_with(self, x, sigma, embedding):
            return super().denoise_with(x, sigma, embedding) * (math.nan if sigma < 2 else 1)

    with pytest.raises(ValueError, match="Step 3 of 5: The latents predicted at noise level 1 contain NaN or infinity"):
        optimised(Broken(7.5), pivot, NullText(iterations=1), measure=False)
