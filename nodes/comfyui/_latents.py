"""LATENTs: what is in them, checked, and in the units that the Denoiser works in."""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import comfy.model_management
import comfy.sample
import comfy.samplers
import torch
from torch import Tensor

from ...dma.statistics import finite_rows
from ._denoiser import is_video_shaped

# The entry of a LATENT that says which of its rows are nothing without the codes of their trajectory.
CODED = "mental_averages_coded"


def coded_latent(samples: Tensor, method: str) -> dict:
    """The LATENT of noise (N, C, H, W) that leads to no picture without the codes which a method keeps apart."""
    return {"samples": samples, CODED: {_digest(row): method for row in samples}}


def check_not_coded(latent: dict, what: str) -> None:
    """Raise ValueError, calling it `what`, where a LATENT holds noise whose codes were kept apart, in any order.

    Told by the values themselves: other nodes hand the entry on with what they have made of the latent.
    """
    marks = latent.get(CODED)
    method = next((marks[digest] for digest in map(_digest, as_pictures(latent["samples"])) if digest in marks),
                  None) if marks else None
    if method is not None:
        raise ValueError(f"{what} is the start of an inversion by {method}: ordinary noise, whose pictures lie in the "
                         "codes that its trajectory carries, and codes cannot be mixed or averaged. Connect it to DDIM "
                         "Sample together with its trajectory, or invert by another method.")


def _digest(row: Tensor) -> str:
    return hashlib.blake2b(row.detach().cpu().float().contiguous().numpy().tobytes(), digest_size=16).hexdigest()


def latent_shape(model: Any, latent: dict, coded: bool = False) -> tuple[int, ...]:
    """The shape (C, H, W) of the latents that a LATENT input stands for.

    Raises ValueError for video, audio and other latents that this MODEL cannot denoise as pictures, and unless `coded`
    for the noise of `coded_latent`.
    """
    samples = image_latents(latent, "This latent", coded)
    channels = model.model.latent_format.latent_channels
    if samples.shape[1] != channels and samples.any():
        raise ValueError(f"This latent has {samples.shape[1]} channels, but the model works on {channels}: encode the "
                         "picture with the VAE of this model.")
    # An empty latent of another model's size is made to fit, as a KSampler does it.
    fitted = comfy.sample.fix_empty_latent_channels(model, samples, latent.get("downscale_ratio_spacial"))
    return (channels, *fitted.shape[-2:])


def samples_of(model: Any, latent: dict, coded: bool = False) -> Tensor:
    """The samples (N, C, H, W) of a LATENT, as they are; an empty one made for another kind of model gets this model's
    channels and size. Raises ValueError as `latent_shape` does, and for NaN."""
    shape = latent_shape(model, latent, coded)
    samples = finite(image_latents(latent, "This latent", coded), "This latent")
    return samples if samples.shape[1:] == shape else torch.zeros((len(samples), *shape))


def samples_of_size(model: Any, latent: dict, name: str, shape: tuple[int, ...]) -> Tensor:
    """`samples_of` the LATENT input `name`. Raises ValueError also unless they have the shape (C, H, W) that another
    input, latent_image, asks for."""
    samples = samples_of(model, latent)
    if samples.shape[1:] != shape:
        raise ValueError(f"{name} holds latents of {described(samples)}, but latent_image asks for "
                         f"{shape[2]} x {shape[1]}: connect {name} to latent_image as well.")
    return samples


def latents_into_model(model: Any, samples: Tensor) -> Tensor:
    """LATENT samples (N, C, H, W) or (N, C, 1, H, W) in the units that the Denoiser works in, (N, C, H, W), on the CPU,
    where latents wait.

    Under --gpu-only they come from the GPU, and all noise is drawn on the CPU.
    """
    return rescaled(model, model.model.process_latent_in, as_pictures(samples).cpu().float().clone())


def rescaled(model: Any, process: Callable[[Tensor], Tensor], latents: Tensor) -> Tensor:
    """What the MODEL's `process_latent_in` or `process_latent_out` makes of latents (N, C, H, W)."""
    return process(latents.unsqueeze(2)).squeeze(2) if is_video_shaped(model) else process(latents)


def as_pictures(samples: Tensor) -> Tensor:
    """Samples (N, C, H, W), also of pictures in the form of videos (N, C, 1, H, W) of one frame."""
    return samples[:, :, 0] if samples.ndim == 5 and samples.shape[2] == 1 else samples


def latents_out_of_model(model: Any, latents: Tensor) -> dict:
    """The LATENT of finished latents (N, C, H, W) in the units that the Denoiser works in."""
    with torch.inference_mode(False), torch.no_grad():
        latents = latents.detach().float()
        samples = model.model.process_latent_out(latents.unsqueeze(2) if is_video_shaped(model) else latents)
        return {"samples": samples.to(comfy.model_management.intermediate_device())}


def check_vae(vae: Any, model: Any | None = None) -> None:
    """Raise ValueError unless there is a VAE, and it has as many channels as the latents of the MODEL, if there is
    one."""
    if vae is None:
        raise ValueError("This checkpoint has no VAE: connect one from Load VAE.")
    if model is None:
        return
    channels = model.model.latent_format.latent_channels
    if getattr(vae, "latent_channels", channels) != channels:
        raise ValueError(f"This VAE decodes latents of {vae.latent_channels} channels, but those of the model have "
                         f"{channels}: connect the VAE of this model.")


def encoded_one_by_one(vae: Any, pictures: Tensor) -> Iterator[Tensor]:
    """The latent of each of the pictures (N, H, W, 3 or more), as VAE Encode makes it of one: a VAE of videos takes a
    batch for one film."""
    for picture in pictures:
        yield vae.encode(picture[None, ..., :3])


def decoded(vae: Any, latent: dict) -> Tensor:
    """The pictures (N, H, W, 3) of a LATENT, as VAE Decode makes them."""
    pictures = vae.decode(latent["samples"])
    return pictures.flatten(0, 1) if pictures.ndim == 5 else pictures  # of videos of one frame


def image_latents(latent: dict, what: str, coded: bool = False) -> Tensor:
    """The samples (N, C, H, W) of a LATENT, also of one in the form of videos (N, C, 1, H, W) of one frame.

    Raises ValueError, calling it `what`, for video, nested, masked and empty ones, and unless `coded` for the noise of
    `coded_latent`.
    """
    samples = latent["samples"]
    nested = getattr(samples, "is_nested", False)
    samples = samples if nested else as_pictures(samples)
    if nested or samples.ndim != 4:
        raise ValueError(f"{what} is a video, audio or combined latent: connect an image latent such as that of Empty "
                         "Latent Image.")
    if samples.numel() == 0:
        raise ValueError(f"{what} is an empty batch: connect at least one latent.")
    if latent.get("noise_mask") is not None:
        raise ValueError(f"{what} carries an inpainting mask, which has no meaning here: connect a latent without one.")
    if not coded:
        check_not_coded(latent, what)
    return samples


def finite(values: Tensor, what: str) -> Tensor:
    """The values themselves. Raises ValueError, calling them `what`, if one is NaN or infinite."""
    if not finite_rows(values).all():
        raise ValueError(f"{what} contains NaN or infinity: look for the node that made it.")
    return values


def described(batch: Tensor) -> str:
    """The size of latents (N, C, H, W) in words."""
    return f"{batch.shape[1]} channels and {batch.shape[3]} x {batch.shape[2]} pixels"
