"""Inputs that several nodes share, and the pack's own socket types."""
from ._batches import check_batch, count_of, different_rows, take
from ._category import category
from ._checks import check_number, checked
from ._encoders import (
    check_one_encoder,
    check_reads_prompts,
    encoder_name,
    picture_embeddings,
    prompt_embedding,
    reads_prompts,
)
from ._first_mean import (
    FEATURES_OF_MEAN,
    INPUTS_OF_MEAN,
    PREDICTIONS_OF_MEAN,
    apart,
    asked_for_mean,
    check_first_mean,
    check_model_of_mean,
    check_one_model,
    first_mean,
    settings_of_mean,
)
from ._latents import growing_latents, joined_noise
from ._layers import LAYERS, chosen_layers, noise_levels, pooling, source_of_directions, source_of_memorisation
from ._method import method_of, solver_options
from ._number_text import filled_lines, lines_of, number_of, numbers, words
from ._pictures import check_one_size, count_of_pictures, latents_of_pictures, on_white
from ._reading import draws, levels_to_read, reading_prompt, represented
from ._references import check_reference_count, sampled_otherwise
from ._sampling import batch_size, concept, latent_size, negative, resume, scheduler, seed, steps
from ._saved_files import from_saved_file, saved_file
from ._schedule import schedule
from ._sockets import (
    CLUSTERS,
    DIRECTION,
    EMBEDDINGS,
    FEATURES,
    FIRST_MEAN,
    HSPACE,
    IMAGE_ENCODER,
    REPORT,
    REPRESENTATION,
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
    rows_of_a_pass,
    saved_training,
    training_batch_size,
    training_records,
    training_steps,
)

__all__ = [
    "CLUSTERS", "DIRECTION", "EMBEDDINGS", "FEATURES", "FEATURES_OF_MEAN", "FIRST_MEAN", "HSPACE", "IMAGE_ENCODER",
    "INPUTS_OF_MEAN", "LAYERS", "PREDICTIONS_OF_MEAN", "PREVIEW_STEPS", "REPORT", "REPRESENTATION", "SHEET_CELL",
    "SHEET_MODELS", "TABLE", "TRAJECTORY", "apart", "asked_for_mean", "batch_size", "category", "check_batch",
    "check_first_mean", "check_model_of_mean", "check_number", "check_one_encoder", "check_one_model",
    "check_one_size", "check_reads_prompts", "check_reference_count", "check_training_latents", "checked",
    "chosen_layers", "concept", "count_of", "count_of_pictures", "different_rows", "draws", "encoder_name",
    "filled_lines", "first_mean", "from_saved_file", "growing_latents", "joined_noise", "latent_size",
    "latents_of_pictures", "learning_rate_of_training", "levels_to_read", "lines_of", "lora_target", "method_of",
    "mode_latents", "negative", "noise_levels", "number_of", "numbers", "on_white", "picture_embeddings", "pooling",
    "previewing", "prompt_embedding", "reading_prompt", "reads_prompts", "represented", "resume", "rows_of_a_pass",
    "sampled_otherwise", "saved_file", "saved_training", "schedule", "scheduler", "seed", "settings_of_mean",
    "solver_options", "source_of_directions", "source_of_memorisation", "steps", "take", "training_batch_size",
    "training_records", "training_steps", "words",
]
