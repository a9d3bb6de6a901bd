"""What ending the forward pass at a layer saves, per architecture: small networks with random weights.

For each architecture: the time of a whole prediction and of features at the first, a middle and the last place of the
table, forward alone and with the backward pass, relative to the whole network; and what block checkpoints cost.
"""
from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable

import torch
from support import ROOT, median_seconds, parse_arguments, print_table, with_gradient, write_figures

sys.path.insert(0, str(ROOT / "tests" / "support"))
from small_models import FLUX, LUMINA, MODELS, UNET, WITH_LABEL, Small

import pack

DEEP_UNET = dict(model_channels=64, num_res_blocks=[2, 2, 2], channel_mult=[1, 2, 4],
                 transformer_depth=[0, 0, 1, 1, 1, 1], num_heads=8,
                 transformer_depth_output=[0, 0, 0, 1, 1, 1, 1, 1, 1], transformer_depth_middle=1)
# Deep enough for the shares to mean something; widths are those of toys.
LARGER = {
    "SD1.5": (dict(UNET, **DEEP_UNET, use_linear_in_transformer=False), (32, 32)),
    "SDXL": (dict(UNET, **{**WITH_LABEL, **DEEP_UNET}), (32, 32)),
    "SD3": (dict(MODELS["SD3"].unet_config, depth=2, num_blocks=12, x_block_self_attn_layers=[],
                 context_embedder_config=dict(
                     target="torch.nn.Linear", params=dict(in_features=16, out_features=128))), (16, 16)),
    "Flux": (dict(FLUX, image_model="flux", hidden_size=128, num_heads=8, mlp_ratio=4.0, depth=4,
                  depth_single_blocks=8), (32, 32)),
    "Chroma": (dict(MODELS["Chroma"].unet_config, hidden_size=128, num_heads=8, mlp_ratio=4.0, depth=4,
                    depth_single_blocks=8, out_dim=128), (32, 32)),
    "PixArt": (dict(MODELS["PixArt"].unet_config, hidden_size=96, depth=12, num_heads=4), (40, 40)),
    "AuraFlow": (dict(MODELS["AuraFlow"].unet_config, dim=128, n_layers=12, n_double_layers=3, n_heads=8,
                      global_conddim=128, max_seq=256), (32, 32)),
    "HunyuanDiT": (dict(MODELS["HunyuanDiT"].unet_config, hidden_size=128, depth=12, num_heads=8, mlp_ratio=4.0),
                   (32, 32)),
    "Lumina 2": (dict(LUMINA, image_model="lumina2", dim=128, n_layers=10, n_heads=8, n_kv_heads=4, n_refiner_layers=2),
                 (32, 32)),
    "Qwen-Image": (dict(MODELS["Qwen-Image"].unet_config, num_layers=12, num_attention_heads=8), (32, 32)),
}


def measure(small: Small, repetitions: int) -> list[tuple[str, float, float, float]]:
    """For the whole network and some places: name, seconds forward, forward and backward, and the latter with
    checkpoints."""
    from mental_averages.nodes import comfyui

    model = small.build()
    shape = (model.model.latent_format.latent_channels, *small.size)
    level = 0.7 if small.parametrization == "flow" else 5.0
    places = comfyui.places(model.model.diffusion_model)
    names = list(places)
    chosen = {names[0], comfyui.default_layer(model.model.diffusion_model), names[len(names) // 2], names[-1]}
    found: dict[str, list[float]] = {}

    def run(denoiser):
        x = level * torch.randn((1, *shape), generator=torch.Generator().manual_seed(0))
        found.setdefault("whole network", []).extend(both(lambda z: prediction(denoiser, z, level), x, repetitions))
        for name in sorted(chosen, key=names.index):
            denoiser.place = places[name]
            found.setdefault(name, []).extend(both(lambda z: denoiser.features(z, level), x, repetitions))
        return x

    for save_memory in (False, True):
        comfyui.with_denoiser(model, small.conditioning(1), small.conditioning(2), 1.0, torch.tensor([level, 0.0]),
                               shape, 0, run, save_memory=save_memory)
    return [(name, forward, backward, saving) for name, (forward, backward, _, saving) in found.items()]


def prediction(denoiser, x: torch.Tensor, level: float) -> torch.Tensor:
    """What the whole network predicts, differentiated in the way that features are: the pass without an early exit."""
    import comfy.samplers

    with denoiser.recording():
        return comfy.samplers.calc_cond_batch(denoiser.guider.inner_model, [denoiser.guider.conds["positive"]],
                                              denoiser._as_model(x), torch.full((len(x),), level),
                                              denoiser._differentiable())[0]


def both(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, repetitions: int) -> tuple[float, float]:
    """Seconds forward, and forward and backward, of the processor, which other programs on the machine disturb less."""
    def forward():
        with torch.no_grad():
            function(x)

    def seconds(call: Callable[[], object]) -> float:
        call()  # the first is slower
        return median_seconds(call, repetitions, time.process_time)

    return seconds(forward), seconds(lambda: with_gradient(function, x))


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0])
    pack.load_comfyui()
    rows, figures = [], {}
    for name, (config, size) in LARGER.items():
        results = measure(dataclasses.replace(MODELS[name], unet_config=config, size=size),
                          3 if arguments.quick else 15)
        _, whole_forward, whole_backward, _ = results[0]
        for layer, forward, backward, saving in results:
            shares = forward / whole_forward, backward / whole_backward, saving / whole_backward
            rows.append([name, layer, f"{1000 * forward:.1f} ms", f"{shares[0]:.2f}", f"{1000 * backward:.1f} ms",
                         f"{shares[1]:.2f}", f"{shares[2]:.2f}"])
            key = f"{name}_{layer}".replace(" ", "_").replace(".", "_")
            figures |= {f"forward_{key}": shares[0], f"backward_{key}": shares[1], f"checkpointed_{key}": shares[2]}
            print(rows[-1], flush=True)
    print()
    print_table(["model", "features at", "forward", "share of the whole", "forward and backward", "share",
                 "share with block checkpoints"], rows)
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
