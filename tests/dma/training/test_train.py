"""The training core on small models whose losses and gradients are known in closed form."""
import pytest
import torch
from trainings import CLEAN, Toy, draws_of, same, small, train_saving

from mental_averages.dma import training
from mental_averages.dma.diffusion import Parametrization
from mental_averages.dma.execution import BatchSize, RunState


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
