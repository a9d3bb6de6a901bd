"""Training an adapter's or an embedding's parameters on clean latents."""
from ._draws import Draw, draw
from ._loss import denoising_loss, loss_on
from ._monitor import TrainingMonitor
from ._report import TRAINING_FORMAT, TrainingReport, running_mean
from ._settings import TrainingSettings
from ._state import TrainingState, state_for
from ._train import Training, train

__all__ = [
    "TRAINING_FORMAT", "Draw", "Training", "TrainingMonitor", "TrainingReport", "TrainingSettings", "TrainingState",
    "denoising_loss", "draw", "loss_on", "running_mean", "state_for", "train",
]
