"""TrainModeLoRA and TrainModeEmbedding."""
from ._train_mode_embedding import MOST_VECTORS, TrainModeEmbedding, prepare
from ._train_mode_lora import TrainModeLoRA

__all__ = ["MOST_VECTORS", "TrainModeEmbedding", "TrainModeLoRA", "prepare"]
