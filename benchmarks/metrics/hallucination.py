"""What the variance of predictions in the last steps tells of samples: on a toy, and on averages between modes.

The toy is that of arXiv 2406.09358: three narrow modes on a line. A network that has learnt them draws points between
them, which are hallucinations. AUROC is that of the score for such points against points in a mode; flagged is the
share of them above the threshold of a false positive rate of 5 %, set on 199 points in modes, and kept the share of
other points in modes that are not flagged.

On the demo model, blends are the means of two finished samples of different concepts, noised to the middle of sampling
and finished under a prompt that names neither; as controls, plain samples go the same way. Percentiles of averages are
among the plain samples of their concept.
"""
from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from _toy import Exact, kinds, sampled, trained
from support import (
    STEPS,
    DemoModel,
    demo_and_judge,
    fill_in,
    on_model,
    parse_arguments,
    plain_samples,
    preset_settings,
    print_table,
    shifted_average,
    with_interval,
    write_figures,
)

import pack
from mental_averages.dma.alignment import align
from mental_averages.dma.diffusion import add_noise, sample, starting_noise
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.metrics import trailing_variance
from mental_averages.dma.statistics import against_references, auroc

CONCEPTS = ["red heart", "cat face", "red apple", "house", "grinning face", "tree", "fish", "woman"]
RATE, REFERENCES = 0.05, 199
CFG, SEED, HALFWAY = 7.0, 777, 10  # of 20 steps
TOYS = {"20 steps": (20, [2, 3, 5, 8]), "100 steps": (100, [3, 5, 10, 30]), "1000 steps": (1000, [10, 30, 100])}
LAST, DEFAULT = [2, 3, 5, 8], 3  # of the demo model's 20 steps


def judged(scores: torch.Tensor, inside: torch.Tensor, outside: torch.Tensor) -> tuple[float, float, float]:
    """AUROC, the share of points off the modes that is flagged, and of those in modes that is kept."""
    good, bad = scores[inside], scores[outside]
    references, others = good[:REFERENCES], good[REFERENCES:]
    flags = [against_references(values, references, false_positive_rate=RATE).flags.double().mean().item()
             for values in (bad, others)]
    return auroc(bad, good), flags[0], 1 - flags[1]


def toy(arguments: Any) -> dict[str, float]:
    """Print the tables of the toy; its figures."""
    networks = [trained(arguments.training, seed) for seed in range(arguments.networks)]
    figures, rows = {}, []
    for title in arguments.toys:
        steps, lasts = TOYS[title]
        for ancestral in (True, False):
            found: dict[int, list] = {last: [] for last in lasts}
            shares = []
            for seed, network in enumerate(networks):
                x, predictions = sampled(network, steps, arguments.points, ancestral, seed)
                inside, outside = kinds(x)
                shares.append(outside.double().mean().item())
                if outside.sum() >= 5 and inside.sum() >= 2 * REFERENCES:
                    for last in lasts:
                        found[last].append(judged(trailing_variance(predictions[-last:]), inside, outside))
            kind = "ancestral" if ancestral else "deterministic"
            for last, values in found.items():
                columns = np.array(values).T if values else np.full((3, 1), float("nan"))
                rows.append([title, kind, str(last), with_interval(100 * np.array(shares)),
                             *map(with_interval, columns)])
                key = f"{kind}_{title.split()[0]}_last_{last}"
                figures |= {f"{name}_{key}": float(np.nanmean(column))
                            for name, column in zip(("toy_auroc", "toy_flagged", "toy_kept"), columns)}
    x, _ = sampled(Exact(), 100, arguments.points, True, 0)
    figures["toy_off_modes_exact"] = kinds(x)[1].double().mean().item()
    print(f"\nthe toy: {arguments.networks} networks, {arguments.points} points each; the exact denoiser draws "
          f"{figures['toy_off_modes_exact']:.3%} of points off the modes\n")
    print_table(["sampling", "steps are", "last", "off the modes, %", "AUROC", "flagged", "kept"], rows)
    best = max((value, name) for name, value in figures.items() if name.startswith("toy_auroc") and value == value)
    print(f"\nbest: {best[1]} {best[0]:.3f}")
    return figures | {"toy_auroc_best": best[0]}


@torch.no_grad()
def finished(demo: DemoModel, model: Any, prompt: str, latents: torch.Tensor) -> torch.Tensor:
    """Clean latents (N, C, H, W), noised to the middle of sampling, each with a noise of its own, and finished."""
    def run(denoiser, sigmas):
        noise = starting_noise(len(latents), demo.shape, SEED + 1)
        x = add_noise(denoiser.parametrization, latents, noise, sigmas[HALFWAY].item())
        return sample(denoiser, x, sigmas[HALFWAY:], batch=BatchSize(32))

    return on(demo, model, prompt, run)


def on(demo: DemoModel, model: Any, prompt: str, function, **options) -> Any:
    options = {"layer": None, "gradients": False, **options}
    return on_model(model, demo.encode([prompt]), pack.encode_prompt(demo.clip, ""), CFG, demo.shape, function,
                    **options)


def scores_of(demo: DemoModel, latents: torch.Tensor) -> torch.Tensor:
    from mental_averages.nodes import comfyui

    found = comfyui.recorded(comfyui.latents_out_of_model(demo.model, latents)["samples"])
    return torch.tensor([each.score for each in found])


def on_demo(model: str, arguments: Any) -> dict[str, float]:
    """Print the tables of a demo model; its figures."""
    demo, _ = demo_and_judge(model == "transformer")
    from mental_averages.nodes import comfyui

    concepts, count = CONCEPTS[: arguments.concepts], arguments.samples
    figures: dict[str, float] = {}
    rows, averages = [], {"mean shift": [], "preset standard": [], "mean of latents, finished": []}
    for last in LAST if not arguments.quick else [DEFAULT]:
        recording = comfyui.recording_model(demo.model, last)
        draw = functools.partial(plain_samples, shape=demo.shape, count=count, seed=SEED)
        plain = {concept: on(demo, recording, concept, lambda denoiser, sigmas: draw(denoiser, sigmas))
                 for concept in concepts}
        told = []
        for first, second in zip(concepts, [*concepts[1:], concepts[0]]):
            blends = finished(demo, recording, "", (plain[first] + plain[second]) / 2)
            again = finished(demo, recording, "", plain[first])
            told.append(auroc(scores_of(demo, blends), scores_of(demo, again)))
            if last == DEFAULT:
                usual = scores_of(demo, plain[first])
                for name, latents in made(demo, recording, first, plain[first]).items():
                    ranks = against_references(scores_of(demo, latents), usual,
                                               false_positive_rate=max(RATE, 1 / (count + 1)))
                    averages[name].append((ranks.percentiles[0].item(), ranks.flags[0].item()))
            print(f"{model}, last {last}, {first}: done", flush=True)
        rows.append([str(last), with_interval(np.array(told))])
        figures[f"blend_auroc_{model}_last_{last}"] = float(np.mean(told))
    print(f"\n{model}: blends of two concepts against plain samples, both from the middle of {STEPS} steps; "
          f"{len(concepts)} pairs, {count} of each\n")
    print_table(["last steps", "AUROC"], rows)
    print(f"\n{model}: averages among {count} plain samples of their concept, last {DEFAULT} steps\n")
    print_table(["average", "percentile", "flagged"],
                [[name, with_interval(np.array(values)[:, 0]), f"{np.array(values)[:, 1].mean():.2f}"]
                 for name, values in averages.items()])
    for name, values in averages.items():
        key = name.replace(",", "").replace(" ", "_")
        figures |= {f"percentile_{key}_{model}": float(np.array(values)[:, 0].mean()),
                    f"flagged_{key}_{model}": float(np.array(values)[:, 1].mean())}
    return figures


def made(demo: DemoModel, model: Any, concept: str, plain: torch.Tensor) -> dict[str, torch.Tensor]:
    """Finished averages (1, C, H, W) of a concept, by name."""
    def shift(denoiser, sigmas):
        return shifted_average(denoiser, sigmas, demo.shape, CFG, 0).latents

    def standard(denoiser, sigmas):
        return align(denoiser, sigmas, demo.shape, preset_settings("standard", 32), batch=BatchSize(32)).latents

    from mental_averages.nodes import comfyui

    layer = comfyui.resolve_layer(model, "auto")
    return {"mean shift": on(demo, model, concept, shift),
            "preset standard": on(demo, model, concept, standard, layer=layer, gradients=True),
            "mean of latents, finished": finished(demo, model, concept, plain.mean(0, keepdim=True))}


def main() -> None:
    arguments = parse_arguments(
        __doc__.splitlines()[0], networks=dict(type=int), training=dict(type=int), points=dict(type=int),
        concepts=dict(type=int), samples=dict(type=int), toys=dict(nargs="+", choices=list(TOYS)),
        models=dict(nargs="*", choices=["unet", "transformer"]))
    fill_in(arguments, networks=(5, 1), training=(10000, 2500), points=(100000, 20000), concepts=(len(CONCEPTS), 2),
            samples=(64, 19), toys=(list(TOYS), ["20 steps", "100 steps"]), models=(["unet", "transformer"], ["unet"]))
    figures = toy(arguments)
    for model in arguments.models:
        figures |= on_demo(model, arguments)
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
