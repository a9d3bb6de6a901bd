"""Inputs that several nodes share, and the pack's own socket types."""
from ._batches import batch_length, check_batch, take
from ._latents import growing_latents, joined_noise
from ._method import method_of, solver_options
from ._sampling import batch_size, concept, latent_size, negative, noise_seed, resume, scheduler
from ._schedule import schedule
from ._sockets import CLUSTERS, EMBEDDINGS, FEATURES, HSPACE, IMAGE_ENCODER, REPORT, TRAJECTORY
from ._training import (
    PREVIEW_STEPS,
    check_training_latents,
    lora_target,
    mode_latents,
    previewing,
    training_batch_size,
    training_records,
)

__all__ = [
    "CLUSTERS", "EMBEDDINGS", "FEATURES", "HSPACE", "IMAGE_ENCODER", "PREVIEW_STEPS", "REPORT", "TRAJECTORY",
    "batch_length", "batch_size", "check_batch", "check_training_latents", "concept", "growing_latents",
    "joined_noise", "latent_size",
    "lora_target", "method_of", "mode_latents", "negative", "noise_seed", "previewing", "resume", "schedule",
    "scheduler", "solver_options", "take", "training_batch_size", "training_records",
]
