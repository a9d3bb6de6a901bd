"""What the methods know of diffusion: the Denoiser, noise laws and noise levels, noise, deterministic steps."""
from ._denoiser import (
    Denoiser,
    EmbeddingDenoiser,
    LayeredDenoiser,
    ListeningDenoiser,
    RoundingDenoiser,
    RowsDenoiser,
    of_rows,
    rounding_of,
    tell,
)
from ._latents import NotFiniteError, at_step, check_finite, check_latents
from ._noise import (
    RESTORED_NOISE_SEED,
    NoisePairs,
    NoiseRows,
    add_noise,
    initial_latent,
    noise_in,
    noise_of,
    salted_seed,
    shell_norm,
    start_scale,
    starting_noise,
)
from ._parametrization import Parametrization, denoised_from_output, paper_scale
from ._plain_samples import SamplesState, draw_samples, drawing
from ._sampling import clean_estimate, deterministic_step, restore_noise, sample, sampling, stepping
from ._schedule import check_falling, check_levels, distinct_levels, falling, rising, steps_at
from ._spreading import SpreadDenoiser, Task, is_spread, spread, work_here

__all__ = [
    "RESTORED_NOISE_SEED", "Denoiser", "EmbeddingDenoiser", "LayeredDenoiser", "ListeningDenoiser", "NoisePairs",
    "NoiseRows", "NotFiniteError", "Parametrization", "RoundingDenoiser", "RowsDenoiser", "SamplesState",
    "SpreadDenoiser", "Task", "add_noise", "at_step", "check_falling", "check_finite", "check_latents", "check_levels",
    "clean_estimate", "denoised_from_output", "deterministic_step", "distinct_levels", "draw_samples", "drawing",
    "falling", "initial_latent", "is_spread", "noise_in", "noise_of", "of_rows", "paper_scale", "restore_noise",
    "rising", "rounding_of", "salted_seed", "sample", "sampling", "shell_norm", "spread", "start_scale",
    "starting_noise", "stepping", "steps_at", "tell", "work_here",
]
