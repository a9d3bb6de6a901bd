"""A small training whose loss is not quadratic in what is trained."""
import torch

from mental_averages.dma import training
from mental_averages.dma.diffusion import Parametrization
from mental_averages.dma.execution import Checkpoint, resumed
from mental_averages.dma.training import TrainingMonitor, TrainingState

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


class Interrupt(BaseException):
    """Like ComfyUI's, no Exception."""
