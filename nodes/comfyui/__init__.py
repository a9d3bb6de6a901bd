"""What knows ComfyUI's internals; nothing else does."""
from ._adapters import ATTENTION, NAMES, attached, check_rank, lora_model, parameters_of, target_layers, with_lora
from ._advice import (
    FINISHED_LATENT,
    ORDINARY_SIGMAS,
    OTHER_LAYER,
    OWN_LATENTS,
    advising,
    advising_on_gradients,
)
from ._architectures import AUTO_LAYER, MIDDLE_BLOCK, default_layer, places, works_in_place
from ._conditioning import check_active, check_conditioning, check_no_hooks, check_one_prompt, without_prompt
from ._denoiser import ComfyDenoiser
from ._embedding_files import (
    ENDING,
    check_readable,
    embedding_path,
    embedding_stamps,
    is_from,
    is_readable_embedding,
    name_is_taken,
    plain_name,
    write_embedding,
)
from ._executing import check_no_lists, number_of_call
from ._files import (
    check_prefix,
    explaining_what_cannot_be_written,
    fixed_output_path,
    is_writable_prefix,
    output_name,
    output_path,
    readable_fingerprint,
    readable_fingerprints,
    readable_path,
    readable_paths,
    write_output_text,
    write_output_texts,
)
from ._gradients import differentiable, normal_weights
from ._image_encoders import IMAGE_ENCODERS, encoder_folder, encoder_names, managed_encoder
from ._latents import (
    check_not_coded,
    check_vae,
    coded_latent,
    decoded,
    described,
    encoded_one_by_one,
    finite,
    image_latents,
    latent_shape,
    latents_into_model,
    latents_out_of_model,
    samples_of,
    samples_of_size,
)
from ._model import HSpace, check_model, layer_names, network_of, resolve_layer, schedulers, semantic_space, sigmas_of
from ._model_files import CHECKPOINTS, LORAS, OneCheckpoint, Stamp, free_after, listed_models, stamp, with_lora_file
from ._noise_law import entering, leaving, noise_law, parametrization_of, rounded_level
from ._picture_size import drawn_shape
from ._progress import ProgressReporter, progress_bar, reading_pictures
from ._push import Push, pushed_model
from ._recording import Recorded, recorded, recording_model, remember
from ._resume import (
    UNLIKE,
    answers_of,
    checkpoints,
    computed_by,
    found_again,
    resumed,
    run_state_folder,
    saved_run,
    saved_without_model,
    tolerance_of,
    tolerance_of_model,
)
from ._rounding import rounding_of_model
from ._run_key import run_key
from ._running import BRANCHES, with_denoiser
from ._sampler import DeterministicSampler, own_levels
from ._sampling_kind import SamplingKind, name_of_way
from ._steering import Steering, steered_model
from ._text_encoder import (
    Prompt,
    check_fits,
    check_template,
    differentiable_encoding,
    encoded,
    encoders,
    loaded_with_model,
    prompt_with_vectors,
    set_positive,
)
from ._weights import identity_of_loaded

__all__ = [
    "ATTENTION", "AUTO_LAYER", "BRANCHES", "CHECKPOINTS", "ENDING", "FINISHED_LATENT", "IMAGE_ENCODERS", "LORAS",
    "MIDDLE_BLOCK", "NAMES", "ORDINARY_SIGMAS", "OTHER_LAYER", "OWN_LATENTS", "UNLIKE", "ComfyDenoiser",
    "DeterministicSampler", "HSpace", "OneCheckpoint", "ProgressReporter", "Prompt", "Push", "Recorded",
    "SamplingKind", "Stamp", "Steering", "advising", "advising_on_gradients", "answers_of", "attached",
    "check_active", "check_conditioning", "check_fits", "check_model", "check_no_hooks", "check_no_lists",
    "check_not_coded", "check_one_prompt", "check_prefix", "check_rank", "check_readable", "check_template",
    "check_vae", "checkpoints", "coded_latent", "computed_by", "decoded", "default_layer", "described",
    "differentiable", "differentiable_encoding", "drawn_shape", "embedding_path", "embedding_stamps", "encoded",
    "encoded_one_by_one", "encoder_folder", "encoder_names", "encoders", "entering",
    "explaining_what_cannot_be_written", "finite", "fixed_output_path", "found_again", "free_after",
    "identity_of_loaded", "image_latents", "is_from", "is_readable_embedding", "is_writable_prefix", "latent_shape",
    "latents_into_model", "latents_out_of_model", "layer_names", "leaving", "listed_models", "loaded_with_model",
    "lora_model", "managed_encoder", "name_is_taken", "name_of_way", "network_of", "noise_law", "normal_weights",
    "number_of_call", "output_name", "output_path", "own_levels", "parameters_of", "parametrization_of", "places",
    "plain_name", "progress_bar", "prompt_with_vectors", "pushed_model", "readable_fingerprint",
    "readable_fingerprints", "readable_path", "readable_paths", "reading_pictures", "recorded", "recording_model",
    "remember", "resolve_layer", "resumed", "rounded_level", "rounding_of_model", "run_key", "run_state_folder",
    "samples_of", "samples_of_size", "saved_run", "saved_without_model", "schedulers", "semantic_space",
    "set_positive", "sigmas_of", "stamp", "steered_model", "target_layers", "tolerance_of", "tolerance_of_model",
    "with_denoiser", "with_lora", "with_lora_file", "without_prompt", "works_in_place", "write_embedding",
    "write_output_text", "write_output_texts",
]
