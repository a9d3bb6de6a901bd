"""What knows ComfyUI's internals; nothing else does."""
from ._adapters import ATTENTION, NAMES, attached, check_rank, lora_model, new_adapters, parameters_of, target_layers
from ._architectures import AUTO_LAYER, default_layer, places, works_in_place
from ._conditioning import check_conditioning, conditioning_tensors
from ._denoiser import ComfyDenoiser, parametrization_of
from ._embedding_files import (
    ENDING,
    check_readable,
    embedding_path,
    is_from,
    name_is_taken,
    plain_name,
    write_embedding,
)
from ._files import content_hash, output_path, readable_path, writable_folder, write_output_text
from ._gradients import differentiable, normal_weights
from ._latents import described, finite, image_latents, latent_shape, latents_into_model, latents_out_of_model
from ._model import HSpace, check_model, layer_names, network_of, resolve_layer, sigmas_of
from ._progress import ProgressReporter, progress_bar
from ._resume import checkpoints, fingerprint, run_state, run_state_folder, training_fingerprint
from ._running import BRANCHES, with_denoiser
from ._sampler import DeterministicSampler
from ._text_encoder import (
    Prompt,
    check_fits,
    check_template,
    differentiable_encoding,
    encoders,
    loaded_with_model,
    prompt_with_vectors,
    set_positive,
)

__all__ = [
    "ATTENTION", "AUTO_LAYER", "BRANCHES", "ENDING", "NAMES", "ComfyDenoiser", "DeterministicSampler", "HSpace",
    "ProgressReporter", "Prompt", "attached", "check_conditioning", "check_fits", "check_model", "check_rank",
    "check_readable", "check_template", "checkpoints", "conditioning_tensors", "content_hash",
    "default_layer", "described",
    "differentiable", "differentiable_encoding", "embedding_path", "encoders", "fingerprint", "finite", "image_latents",
    "is_from", "latent_shape", "latents_into_model", "latents_out_of_model", "layer_names", "loaded_with_model",
    "lora_model", "name_is_taken", "network_of", "new_adapters", "normal_weights", "output_path", "parameters_of",
    "parametrization_of", "places", "plain_name", "progress_bar", "prompt_with_vectors", "readable_path",
    "resolve_layer", "run_state", "run_state_folder", "set_positive", "sigmas_of", "target_layers",
    "training_fingerprint", "with_denoiser", "works_in_place", "writable_folder", "write_embedding",
    "write_output_text",
]
