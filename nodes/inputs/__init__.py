"""Inputs that several nodes share, and the pack's own socket types."""
from ._batches import check_batch, count_of, take
from ._checks import check_number, checked
from ._encoders import check_one_encoder, check_reads_prompts, picture_embeddings, prompt_embedding, reads_prompts
from ._latents import growing_latents, joined_noise
from ._method import method_of, solver_options
from ._number_text import lines_of, number_of, numbers, words
from ._sampling import batch_size, concept, latent_size, negative, resume, scheduler, seed, steps
from ._schedule import schedule
from ._sockets import (
    CLUSTERS,
    EMBEDDINGS,
    FEATURES,
    HSPACE,
    IMAGE_ENCODER,
    REPORT,
    SHEET_CELL,
    SHEET_MODELS,
    TABLE,
    TRAJECTORY,
)
from ._training import (
    PREVIEW_STEPS,
    check_training_latents,
    learning_rate_of_training,
    lora_target,
    mode_latents,
    previewing,
    saved_training,
    training_batch_size,
    training_records,
    training_steps,
)

__all__ = [
    "CLUSTERS", "EMBEDDINGS", "FEATURES", "HSPACE", "IMAGE_ENCODER", "PREVIEW_STEPS", "REPORT", "SHEET_CELL",
    "SHEET_MODELS", "TABLE", "TRAJECTORY", "batch_size", "check_batch", "check_number", "check_one_encoder",
    "check_reads_prompts", "check_training_latents", "checked", "concept", "count_of", "growing_latents",
    "joined_noise", "latent_size", "learning_rate_of_training", "lines_of", "lora_target", "method_of",
    "mode_latents", "negative", "number_of", "numbers", "picture_embeddings", "previewing", "prompt_embedding",
    "reads_prompts", "resume", "saved_training", "schedule", "scheduler", "seed", "solver_options", "steps", "take",
    "training_batch_size", "training_records", "training_steps", "words",
]
