"""Training an adapter's or an embedding's parameters on clean latents."""
from ._draws import Draw, draw
from ._lora import LowRank, matrix_size, new_adapters, parameters_of
from ._loss import denoising_loss, loss_on
from ._report import TRAINING_FORMAT, TrainingReport, running_mean
from ._settings import TrainingSettings
from ._train import Training, state_for, train

__all__ = [
    "TRAINING_FORMAT", "Draw", "LowRank", "Training", "TrainingReport", "TrainingSettings", "denoising_loss", "draw",
    "loss_on", "matrix_size", "new_adapters", "parameters_of", "running_mean", "state_for", "train",
]
