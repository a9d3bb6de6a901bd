"""What to connect or change on the page, behind what the mathematics says is wrong."""
from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ...dma.diffusion import NotFiniteError
from ...dma.models import UnusableGradient

PLAIN_MODEL = ("Connect the model without nodes that compile it or change its attention, or load it in another "
               "precision (16 or 32 bit).")
WITHOUT_ADDITION = ("Another node has added tensors of its own to this model, which ComfyUI made for inference alone "
                    "and which cannot be reached: connect the model from before that node.")
OTHER_LAYER = f"{PLAIN_MODEL} Or choose another layer in HSpaceHook."
ORDINARY_SIGMAS = ("Connect the sigmas of an ordinary scheduler of this model, with at least one step, without "
                   "restarted levels.")
FINISHED_LATENT = "Connect a finished latent, such as an encoded picture."
OWN_LATENTS = ("Connect the latents that belong to the trajectory, or sample without it, with the steps and the "
               "scheduler of the inversion.")
OWN_NOISE_DOWN = ("Connect the latent of the inversion as latent_image and DisableNoise as the noise, or disconnect "
                  "the trajectory.")
OTHER_PRECISION = ("Load the model in another precision (bf16 or fp32: start ComfyUI with --bf16-unet or "
                   "--force-fp32), or lower cfg.")


@contextlib.contextmanager
def advising(advice: str, kind: type[ValueError] = ValueError) -> Iterator[None]:
    """Add `advice` to what an error of this kind says that is raised inside."""
    try:
        yield
    except kind as error:
        raise ValueError(f"{error} {advice}") from error


@contextlib.contextmanager
def advising_on_gradients(advice: str = PLAIN_MODEL) -> Iterator[None]:
    """Say what may help a model whose gradients cannot be used."""
    try:
        yield
    except UnusableGradient as error:
        # What torch says of tensors that HeldTensors has not found.
        advice = WITHOUT_ADDITION if "Inference tensors" in str(error) else advice
        raise ValueError(f"{error} {advice}") from error


def advising_on_results() -> contextlib.AbstractContextManager[None]:
    """Say what may help where a model gives NaN or infinity."""
    return advising(OTHER_PRECISION, NotFiniteError)
