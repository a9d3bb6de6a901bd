"""Training an adapter's or an embedding's parameters on clean latents."""
from ._draws import Draw, draw
from ._lora import LowRank, matrix_size, new_adapters, parameters_of
from ._loss import denoising_loss, loss_on
from ._monitor import TrainingMonitor
from ._report import TrainingReport, running_mean
from ._settings import TrainingSettings
from ._state import TrainingState, state_for
from ._train import ALGORITHM, Training, train

__all__ = [
    "ALGORITHM", "Draw", "LowRank", "Training", "TrainingMonitor", "TrainingReport", "TrainingSettings",
    "TrainingState", "denoising_loss", "draw", "loss_on", "matrix_size", "new_adapters", "parameters_of",
    "running_mean", "state_for", "train",
]
