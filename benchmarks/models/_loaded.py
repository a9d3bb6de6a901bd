"""Models of full size with random weights, from files by ComfyUI's own loader: what works on them, and what it costs.

Every case is a model in a type of floats, with or without dynamic VRAM: a KSampler run that loads the weights, and the
same once more; then, on the MODEL that these left in memory, the gradient of features against central differences, an
alignment, a mean shift, a Gauss-Newton match and a preview by a TAESD; and the KSampler run again, which has to give
the very same latents. Each part has its seconds and the most memory of the card, or without one of the process, that
was in use during it: weights, what torch keeps and all the rest. Seconds of sampling and of the preview are those of a
second call. The others are called once, after the gradient, which has then warmed the same passes up; with dynamic
VRAM they include the way to the static form and back.
"""
from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from support import ARCHITECTURES, PeakMemory, on_model, random_model, random_prompt, timed
from torch import Tensor

import pack

# For machines without a GPU: the same classes and loaders, small. An SDXL is known by its depth and cannot be.
SMALL = {
    "SD15": dict(num_res_blocks=[1], channel_mult=[1], transformer_depth=[1], transformer_depth_output=[1, 1]),
    "SD3": dict(depth=2, context_embedder_config=dict(target="torch.nn.Linear",
                                                      params=dict(in_features=4096, out_features=128))),
}
STEPS, COUNT, GUIDANCE = 6, 4, 7.0
COLUMNS = ("loading", "sampling", "gradient", "alignment", "mean shift", "Gauss-Newton", "preview")


@dataclass(frozen=True)
class Case:
    name: str
    dtype: str  # of torch
    size: int  # side of latents
    small: bool

    @property
    def file(self) -> str:
        return f"{self.name}_{self.dtype}{'_small' if self.small else ''}.safetensors"


def start_comfyui(dynamic: bool) -> None:
    """Import ComfyUI with or without dynamic VRAM, as its main.py does; raises RuntimeError if it cannot be had.

    comfy_aimdo.control.init() has to have been called before torch was loaded.
    """
    pack.load_comfyui()
    if dynamic:
        import comfy.memory_management
        import comfy.model_management
        import comfy.model_patcher
        import comfy_aimdo.control

        devices = [(device.index or 0, 0) for device in comfy.model_management.get_all_torch_devices()]
        if not comfy_aimdo.control.init_devices(devices):
            raise RuntimeError("comfy-aimdo, which dynamic VRAM needs, does not know this device")
        comfy.model_patcher.CoreModelPatcher = comfy.model_patcher.ModelPatcherDynamic
        comfy.memory_management.aimdo_enabled = True


def write_weights(case: Case, folder: Path) -> Path:
    """The case's random weights as a file, made once."""
    import comfy.memory_management
    from safetensors.torch import save_file

    path = folder / case.file
    if not path.exists():
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # In dynamic VRAM core's layers have no weights before they are loaded.
        before, comfy.memory_management.aimdo_enabled = comfy.memory_management.aimdo_enabled, False
        try:
            model = random_model(case.name, getattr(torch, case.dtype), device,
                                 **(SMALL[case.name] if case.small else {}))
        finally:
            comfy.memory_management.aimdo_enabled = before
        save_file({name: value.contiguous().cpu() for name, value in
                   model.model.diffusion_model.state_dict().items()}, path)
        del model
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return path


def run_case(case: Case, folder: Path) -> dict[str, str]:
    """What each of COLUMNS gave, in words; "failed" and the reason where it raised."""
    import comfy.model_management
    import comfy.sd
    import nodes

    path, dtype = write_weights(case, folder), getattr(torch, case.dtype)
    with torch.inference_mode():
        model = comfy.sd.load_diffusion_model(str(path), {"dtype": dtype})
    if type(model.model.model_config).__name__ != case.name:
        raise RuntimeError(f"{path} was taken for {type(model.model.model_config).__name__}")
    prompt, shape = random_prompt(case.name), (ARCHITECTURES[case.name].channels, case.size, case.size)
    found: dict[str, str] = {}

    def part(name: str, work: Callable[[Callable[..., Any]], str]) -> None:
        """Note what `work` says, and the seconds and the memory of the function that it hands on to be measured."""
        costs: list[str] = []

        def measured(function: Callable[..., Any], *arguments: Any) -> Any:
            with PeakMemory() as peak:
                seconds, result = timed(function, *arguments)
            costs.append(f"{seconds:.2f} s, {peak.gib:.2f} GiB")
            return result

        try:
            said = work(measured)
        except Exception as error:  # one that is missing must not cost the others
            found[name] = f"failed: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]
            return
        found[name] = ", ".join(filter(None, [*costs, said]))

    def sampled() -> Tensor:
        with torch.inference_mode():
            empty = {"samples": torch.zeros(1, *shape)}
            (latent,) = nodes.common_ksampler(model, 0, STEPS, GUIDANCE, "euler", "normal", prompt, prompt, empty)
        return check(latent["samples"])

    def on_denoiser(function: Callable[..., Any], **options: Any) -> Any:
        return on_model(model, prompt, prompt, GUIDANCE, shape, lambda denoiser, sigmas: function(
            denoiser, shape, sigmas), steps=STEPS, **options)

    first: list[Tensor] = []

    def same(latents: Tensor) -> str:
        if not torch.equal(latents, first[0]):
            raise RuntimeError("other latents than before")
        return "the same"

    def load(measured: Callable[..., Any]) -> str:
        first.append(measured(sampled))
        return ""

    part("loading", load)
    if first:
        part("sampling", lambda measured: same(measured(sampled)))
    part("gradient", lambda measured: f"off by {measured(on_denoiser, gradient):.1e}")
    part("alignment", lambda measured: measured(on_denoiser, align))
    part("mean shift", lambda measured: measured(lambda: on_denoiser(shift, gradients=False)))
    part("Gauss-Newton", lambda measured: measured(on_denoiser, gauss_newton))
    part("preview", lambda measured: preview(model, shape, folder, measured))
    if first:
        part("again", lambda measured: same(measured(sampled)))
        if "failed" in found["again"]:
            found["sampling"] = f"failed after all of this: {found['again']}"
    comfy.model_management.unload_all_models()
    return found


def check(latents: Tensor) -> Tensor:
    if not latents.isfinite().all():
        raise RuntimeError("the latents are not finite")
    return latents.clone()


def gradient(denoiser: Any, shape: tuple[int, ...], sigmas: Tensor) -> float:
    from mental_averages.dma.models import check_gradient

    return check_gradient(denoiser, shape, sigmas[1].item())


def align(denoiser: Any, shape: tuple[int, ...], sigmas: Tensor) -> str:
    from support import preset_settings

    from mental_averages.dma import alignment
    from mental_averages.dma.execution import BatchSize

    done = alignment.align(denoiser, sigmas, shape, preset_settings("draft", COUNT), batch=BatchSize(1))
    check(done.latents)
    return f"draft of {COUNT}"


def shift(denoiser: Any, shape: tuple[int, ...], sigmas: Tensor) -> str:
    from mental_averages.dma.execution import BatchSize
    from mental_averages.dma.mean_shift import MeanShiftSettings, mean_shift

    check(mean_shift(denoiser, sigmas, shape, MeanShiftSettings(COUNT, 2, 0), batch=BatchSize(1)).latents)
    return f"{COUNT} noises at 2 levels"


def gauss_newton(denoiser: Any, shape: tuple[int, ...], sigmas: Tensor) -> str:
    from mental_averages.dma.diffusion import initial_latent, starting_noise
    from mental_averages.dma.solvers import GaussNewton

    sigma = sigmas[1].item()
    x = initial_latent(denoiser.parametrization, starting_noise(2, shape, 0), sigma).to(denoiser.device)
    with torch.no_grad():
        target = (denoiser.features(x[:1], sigma) + denoiser.features(x[1:], sigma))[0] / 2
    match = GaussNewton(iterations=2, inner=3).solve(lambda latents: denoiser.features(latents, sigma), x[:1], target)
    check(match.latents)
    return f"residual to {float(match.residual_after / match.residual_before):.2f}"


def preview(model: Any, shape: tuple[int, ...], folder: Path, measured: Callable[..., Any]) -> str:
    """A preview picture by a TAESD with random weights on the model's device, against the same on the CPU."""
    import folder_paths
    import numpy as np
    from comfy.cli_args import LatentPreviewMethod, args
    from comfy.taesd.taesd import TAESD
    from latent_preview import preview_to_image
    from safetensors.torch import save_file

    from mental_averages.nodes import comfyui

    name, channels = model.model.latent_format.taesd_decoder_name, shape[0]
    torch.manual_seed(0)
    decoder = TAESD(latent_channels=channels).taesd_decoder
    for parameter in decoder.parameters():
        parameter.data.normal_(std=0.1 if parameter.ndim == 1 else parameter[0].numel() ** -0.5)
    approximations = folder / "vae_approx"
    approximations.mkdir(exist_ok=True)
    save_file(decoder.state_dict(), approximations / f"{name}.safetensors")
    folder_paths.add_model_folder_path("vae_approx", str(approximations), is_default=True)
    before, args.preview_method = args.preview_method, LatentPreviewMethod.TAESD
    try:
        reporter = comfyui.ProgressReporter(model, "preview")
    finally:
        args.preview_method = before
    with torch.inference_mode():
        latent = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
        show = reporter.previewer.decode_latent_to_preview_image
        show("JPEG", reporter.shown(latent))
        _, picture, _ = measured(lambda: show("JPEG", reporter.shown(latent)))
        on_cpu = TAESD(None, str(approximations / f"{name}.safetensors"), latent_channels=channels)
        expected = preview_to_image(on_cpu.decode(latent)[0].movedim(0, 2))
    error = np.abs(np.asarray(picture, float) - np.asarray(expected, float)).mean()
    if error > 2:
        raise RuntimeError(f"the preview differs from the CPU's by {error:.1f} levels")
    return f"off by {error:.2f} levels"


def run_cases(cases: list[Case], dynamic: bool, folder: Path, until: float) -> None:
    """Print a line of JSON for each case; those that begin after the time `until` are left out."""
    start_comfyui(dynamic)
    for case in cases:
        began = time.time()
        if began > until:
            row: dict[str, Any] = {"left out": "no time was left"}
        else:
            try:
                row = run_case(case, folder)
            except Exception as error:  # the other cases must not be lost with it
                row = {"failed": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps({"name": case.name, "dtype": case.dtype, "dynamic": dynamic,
                          "seconds": round(time.time() - began, 1), **row}), flush=True)
