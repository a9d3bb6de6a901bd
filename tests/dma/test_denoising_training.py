"""The training core on small models whose losses and gradients are known in closed form."""
import json

import pytest
import torch
from hypothesis import given, settings as hypothesis_settings, strategies as st

from mental_averages.dma import training
from mental_averages.dma.diffusion import Parametrization, add_noise, denoised_from_output
from mental_averages.dma.execution import BatchSize, Checkpoint, RunState, resumed
from mental_averages.dma.figures import plot_training
from mental_averages.dma.training import TrainingMonitor, TrainingReport, TrainingState, running_mean

LEVELS = torch.linspace(0.1, 0.9, 50)
SHAPE = (2, 3, 3)
CLEAN = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0))


def small(**change):
    return training.TrainingSettings(**{**dict(steps=12, learning_rate=1e-2, batch_size=4, seed=3), **change})


class Toy:
    """x0_hat = tanh(W x + b) sigma, so that the loss is not quadratic in what is trained."""

    def __init__(self, dtype=torch.float32, parametrization=Parametrization.EPS):
        generator = torch.Generator().manual_seed(1)
        size = torch.Size(SHAPE).numel()
        self.parameters = [(0.1 * torch.randn(shape, generator=generator)).to(dtype).requires_grad_()
                           for shape in ((size, size), (size,))]
        self.loss = training.loss_on(CLEAN.to(dtype), parametrization, torch.device("cpu"), self.denoise)

    def denoise(self, x, sigma):
        weight, bias = self.parameters
        return (x.flatten(1) @ weight.T + bias).tanh().view(x.shape) * sigma.view(-1, 1, 1, 1)

    def train(self, settings, saved=None, tell=lambda event: None, **options):
        return train_saving(self.parameters, self.loss, settings, saved, tell, **options)


def train_saving(parameters, loss, settings, saved=None, tell=lambda event: None, *, preview=lambda done: None,
                 batch=None, seconds=10.0):
    """As the nodes train: from a saved state and with one, telling of each step."""
    place = training.state_for(saved, settings.steps) if saved else None
    checkpoints = [Checkpoint(place, seconds=seconds)] if place else []
    return training.train(
        parameters, loss, draws_of(settings), settings, batch=batch,
        watchers=[*checkpoints, TrainingMonitor(tell, settings, preview=preview)],
        state=resumed(lambda *found: TrainingState.unpacked(*found, parameters, settings), place))


def draws_of(settings):
    return lambda step: training.draw(settings, step, len(CLEAN), SHAPE, LEVELS)


def same(first, second):
    return all(torch.equal(one, other) for one, other in zip(first.parameters, second.parameters))


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


def test_first_update_is_that_of_adamw():
    """After one step both moments cancel: w <- w (1 - lr decay) - lr g / (|g| + eps)."""
    settings, toy = small(steps=1, weight_decay=0.1, epsilon=1e-3), Toy(torch.float64)
    before = [parameter.detach().clone() for parameter in toy.parameters]
    gradients = torch.autograd.grad(toy.loss(*draws_of(settings)(0)).mean(), toy.parameters)
    found = toy.train(settings)
    for parameter, old, gradient in zip(found.parameters, before, gradients):
        torch.testing.assert_close(parameter, old * (1 - 1e-3) - 1e-2 * gradient / (gradient.abs() + 1e-3), rtol=1e-9,
                                   atol=1e-12)


def test_training_makes_the_loss_smaller():
    toy, fixed = Toy(), [draws_of(small(seed=77))(step) for step in range(20)]
    before = sum(toy.loss(*step).mean().item() for step in fixed)
    found = toy.train(small(steps=300))
    assert sum(toy.loss(*step).mean().item() for step in fixed) < 0.7 * before
    assert len(found.report.losses) == 300 and found.report.settings["learning_rate"] == 1e-2


def test_same_seed_same_result_and_another_seed_another():
    first = Toy().train(small())
    torch.manual_seed(5)  # the global generator plays no part
    assert same(first, Toy().train(small())) and first.report.losses == Toy().train(small()).report.losses
    assert not same(first, Toy().train(small(seed=4)))


class Interrupt(BaseException):
    """Like ComfyUI's, no Exception."""


@pytest.mark.parametrize("where", ["progress", "model", "backward"])
@pytest.mark.parametrize("stop", [1, 7, 12])
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, where, stop):
    expected = Toy().train(small())
    saved = RunState(tmp_path, "key", torch.zeros(3))
    toy, calls = Toy(), []

    def told(event):
        if where == "progress" and event.fraction >= stop / 12:
            raise Interrupt

    def loss(*step):
        calls.append(step)
        if where == "model" and len(calls) == stop:
            raise Interrupt
        found = toy.loss(*step)
        if where == "backward" and len(calls) == stop:
            found.register_hook(lambda gradient: (_ for _ in ()).throw(Interrupt()))
        return found

    with pytest.raises(Interrupt):
        train_saving(toy.parameters, loss, small(), saved, told)
    toy, steps = Toy(), []
    resumed = toy.train(small(), saved, steps.append)
    assert same(resumed, expected) and resumed.report.losses == expected.report.losses
    assert len(steps) == 12 - (stop if where == "progress" else stop - 1)
    assert resumed.report.seconds > 0


def test_longer_training_goes_on_from_a_shorter_one_and_is_not_given_up_for_one(tmp_path):
    saved = RunState(tmp_path, "key", torch.zeros(3))
    short = Toy().train(small(steps=5), saved)
    steps = []
    long = Toy().train(small(), saved, steps.append)
    assert len(steps) == 7 and same(long, Toy().train(small()))
    assert same(Toy().train(small(steps=5), saved), short)
    assert len(saved.load()[1]["losses"]) == 12
    assert small(steps=5).key() == small().key() != small(seed=4).key()


def test_a_shorter_training_than_the_saved_one_can_be_interrupted_too(tmp_path):
    saved = RunState(tmp_path, "key", torch.zeros(3))
    expected = Toy().train(small(steps=7))
    Toy().train(small(), saved)
    long, steps = saved.path.read_bytes(), []

    def told(event):
        steps.append(event)
        if len(steps) == 4:
            raise Interrupt

    with pytest.raises(Interrupt):
        Toy().train(small(steps=7), saved, told)
    assert same(Toy().train(small(steps=7), saved, steps.append), expected) and len(steps) == 7
    assert same(Toy().train(small(steps=7), saved, lambda event: pytest.fail("it was finished")), expected)
    assert saved.path.read_bytes() == long


def test_state_is_saved_at_intervals(tmp_path):
    saved, seen = RunState(tmp_path, "key", torch.zeros(3)), []

    def told(event):
        found = saved.load()
        seen.append(len(found[1]["losses"]) if found else 0)

    Toy().train(small(steps=4), saved, told, seconds=-1)
    assert seen == [1, 2, 3, 4], "a step is saved before anybody is told of it"


@pytest.mark.parametrize("micro_batch", [1, 3, 4])
def test_result_does_not_depend_on_micro_batches(micro_batch):
    expected, found = Toy(torch.float64).train(small()), Toy(torch.float64).train(small(), batch=BatchSize(micro_batch))
    for one, other in zip(found.parameters, expected.parameters):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
    assert found.report.losses == pytest.approx(expected.report.losses)


@pytest.mark.parametrize("half_way", [False, True])
def test_out_of_memory_splits_the_batch_and_loses_nothing(half_way):
    toy, sizes = Toy(torch.float64), []

    def full(_=None):
        raise torch.OutOfMemoryError("out of memory")

    def loss(rows, noise, sigma):
        sizes.append(len(rows))
        found = toy.loss(rows, noise, sigma)
        if len(rows) > 2:
            if not half_way:
                full()
            toy_hook = toy.parameters[0] * 1.0  # in the backward pass, after the gradient of something is known
            toy_hook.register_hook(full)
            found = found + 0 * toy_hook.sum()
        return found

    found = training.train(toy.parameters, loss, draws_of(small()), small())
    for one, other in zip(found.parameters, Toy(torch.float64).train(small()).parameters):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
    assert sizes[:5] == [4, 2, 2, 2, 2], "the smaller size is kept"


def test_gradients_of_a_half_precision_network_neither_vanish_nor_overflow():
    """2^-20 inside a 16-bit network is lost unless the loss is scaled up; 2^20 overflows unless it is scaled down."""
    def trained(factor, dtype):
        weight = torch.full((1,), 0.5, requires_grad=True)

        class Narrow(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x

            @staticmethod
            def backward(ctx, gradient):
                return (gradient * factor).to(dtype).to(torch.float32) / factor

        settings = small(steps=3, learning_rate=0.1, epsilon=1e-30)
        loss = training.loss_on(CLEAN, Parametrization.EPS, torch.device("cpu"),
                                lambda x, sigma: Narrow.apply(weight * x))
        return training.train([weight], loss, draws_of(settings), settings).parameters[0]

    for factor in (2.0**-20, 2.0**20):
        assert trained(factor, torch.float16).item() == pytest.approx(trained(factor, torch.float32).item(), abs=2e-2)
    assert trained(1.0, torch.float32).item() != 0.5


@hypothesis_settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 9), batch_size=st.integers(1, 12), seed=st.integers(0, 2**64 - 1))
def test_draws_depend_on_step_alone_and_use_all_latents_equally(count, batch_size, seed):
    settings = training.TrainingSettings(batch_size=batch_size, seed=seed)
    draws = [training.draw(settings, step, count, SHAPE, LEVELS) for step in range(count)]  # count * batch_size rows
    rows = torch.cat([found.rows for found in draws])
    assert torch.bincount(rows, minlength=count).tolist() == [batch_size] * count
    again = training.draw(settings, count - 1, count, SHAPE, LEVELS)
    assert all(torch.equal(one, other) for one, other in zip(again, draws[-1]))
    assert all(sigma in LEVELS for sigma in again.sigma)


def test_draws_are_standard_normal_and_uniform_over_the_table():
    settings = training.TrainingSettings(batch_size=4000, seed=1)
    found = training.draw(settings, 0, 7, SHAPE, LEVELS)
    assert abs(found.noise.mean()) < 0.01 and abs(found.noise.std() - 1) < 0.01
    counts = torch.bincount(torch.searchsorted(LEVELS, found.sigma - 1e-6), minlength=50)
    assert ((counts - 80).square() / 80).sum() < 85.4  # chi-square, 49 degrees of freedom, p = 0.001
    other = training.draw(settings, 1, 7, SHAPE, LEVELS)
    assert abs((found.noise * other.noise).mean()) < 0.01


@pytest.mark.parametrize("change, message", [
    (dict(steps=0), "steps is 0"), (dict(learning_rate=0.0), "learning_rate is 0"),
    (dict(batch_size=0), "batch_size is 0"),
    (dict(learning_rate=float("nan")), "learning_rate is nan"), (dict(seed=-1), "seed is -1"),
    (dict(first_decay=1.0), "decay rates"), (dict(epsilon=0.0), "epsilon")])
def test_senseless_settings_are_refused(change, message):
    toy = Toy()
    with pytest.raises(ValueError, match=message):
        toy.train(small(**change), tell=lambda event: pytest.fail("work was started"))


def test_a_loss_that_is_no_number_ends_the_training_and_keeps_what_was_trained(tmp_path):
    saved, toy, calls = RunState(tmp_path, "key", torch.zeros(3)), Toy(), []

    def loss(*step):
        calls.append(step)
        return toy.loss(*step) * (float("nan") if len(calls) == 4 else 1)

    with pytest.raises(ValueError, match="loss of step 4 is infinite or not a number"):
        train_saving(toy.parameters, loss, small(), saved)
    tensors, meta = saved.load()
    assert len(meta["losses"]) == 3 and torch.equal(tensors["0.parameter"], Toy().train(small(steps=3)).parameters[0])


def test_what_cannot_be_trained_is_refused():
    toy = Toy()
    with pytest.raises(ValueError, match="leaf tensors in 32 bits"):
        training.train([toy.parameters[0] * 2], toy.loss, draws_of(small()), small())
    with pytest.raises(ValueError, match="does not depend on anything"):
        training.train([torch.zeros(1, requires_grad=True)], lambda rows, noise, sigma: sigma, draws_of(small()),
                       small())


def test_progress_and_previews():
    events, asked = [], []

    def preview(done):
        asked.append(done)
        return CLEAN[:1] if done % 2 == 0 else None

    Toy().train(small(steps=4), tell=events.append, preview=preview)
    assert [event.fraction for event in events] == [0.25, 0.5, 0.75, 1.0] and asked == [1, 2, 3, 4]
    assert [event.preview is not None for event in events] == [False, True, False, True]
    assert events[-1].seconds_left == 0 and "step 4 of 4, loss " in events[-1].message


def test_report_round_trip_and_plot():
    report = Toy().train(small()).report
    assert TrainingReport.from_json(report.to_json()) == report
    for text, message in (("{", "not JSON"), ('{"format": "other"}', "not a report of a training"),
                          (json.dumps({**json.loads(report.to_json()), "losses": None}), "damaged")):
        with pytest.raises(ValueError, match=message):
            TrainingReport.from_json(text)
    picture = plot_training(report, 400)
    assert picture.shape == (1, 200, 400, 3) and 0 <= picture.min() < picture.max() <= 1
    with pytest.raises(ValueError, match="has no steps"):
        plot_training(TrainingReport({}, []))
    assert running_mean([2.0, 4.0], 1) == [2.0, 4.0]
