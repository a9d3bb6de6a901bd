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
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _toy import Exact, kinds, sampled, trained
from support import (
    GUIDANCE,
    STEPS,
    DemoModel,
    demo_and_judge,
    fill_in,
    on_model,
    parse_arguments,
    plain_samples,
    preset_settings,
    print_table,
    processes,
    results_of,
    save_sheet,
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
SEED, HALFWAY = 777, 10  # of 20 steps
TOYS = {"20 steps": (20, [2, 3, 5, 8]), "100 steps": (100, [3, 5, 10, 30]), "1000 steps": (1000, [10, 30, 100])}
LAST, DEFAULT = [2, 3, 5, 8], 2  # of the demo model's 20 steps
NAMES = {"unet": "U-Net", "transformer": "transformer"}
SHOWN = 12  # blends of a pair on the sheet


def judged(scores: torch.Tensor, inside: torch.Tensor, outside: torch.Tensor) -> tuple[float, float, float]:
    """AUROC, the share of points off the modes that is flagged, and of those in modes that is kept."""
    good, bad = scores[inside], scores[outside]
    references, others = good[:REFERENCES], good[REFERENCES:]
    flags = [against_references(values, references, false_positive_rate=RATE).flags.double().mean().item()
             for values in (bad, others)]
    return auroc(bad, good), flags[0], 1 - flags[1]


def of_network(seed: int, arguments: Any) -> dict[tuple[str, bool], tuple[float, dict[int, tuple]]]:
    """Of one network of the toy, by kind of sampling: the share of points off the modes, and what was judged by so many
    last steps, where there are points enough."""
    network, found = trained(arguments.training, seed), {}
    for title in arguments.toys:
        steps, lasts = TOYS[title]
        for ancestral in (True, False):
            x, predictions = sampled(network, steps, arguments.points, ancestral, seed)
            inside, outside = kinds(x)
            enough = outside.sum() >= 5 and inside.sum() >= 2 * REFERENCES
            found[title, ancestral] = outside.double().mean().item(), {
                last: judged(trailing_variance(predictions[-last:]), inside, outside) for last in lasts if enough}
    print(f"toy, network {seed}: done", flush=True)
    return found


def toy(networks: list[dict], arguments: Any) -> dict[str, float]:
    """Print the tables of the toy; its figures."""
    figures, rows = {}, []
    for title in arguments.toys:
        for ancestral in (True, False):
            shares = [found[title, ancestral][0] for found in networks]
            kind = "ancestral" if ancestral else "deterministic"
            for last in TOYS[title][1]:
                values = [found[title, ancestral][1][last] for found in networks if last in found[title, ancestral][1]]
                columns = np.array(values).T if values else np.full((3, 1), float("nan"))
                rows.append([title, kind, str(last), with_interval(100 * np.array(shares)),
                             *map(with_interval, columns)])
                key = f"{kind}_{title.split()[0]}_last_{last}"
                figures |= {f"{name}_{key}": float(np.nanmean(column)) if values else float("nan")
                            for name, column in zip(("toy_auroc", "toy_flagged", "toy_kept"), columns)}
    x, _ = sampled(Exact(), 100, arguments.points, True, 0)
    figures["toy_off_modes_exact"] = kinds(x)[1].double().mean().item()
    print(f"\nthe toy: {arguments.networks} networks, {arguments.points} points each; the exact denoiser draws "
          f"{figures['toy_off_modes_exact']:.3%} of points off the modes\n")
    print_table(["sampling", "steps are", "last", "off the modes, %", "AUROC", "flagged", "kept"], rows)
    return figures


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
    return on_model(model, demo.encode([prompt]), pack.encode_prompt(demo.clip, ""), GUIDANCE, demo.shape, function,
                    **options)


def scores_of(demo: DemoModel, latents: torch.Tensor) -> torch.Tensor:
    from mental_averages.nodes import comfyui

    found = comfyui.recorded(comfyui.latents_out_of_model(demo.model, latents)["samples"])
    return torch.tensor([each.score for each in found])


def on_concept(task: tuple[str, str, str], arguments: Any) -> tuple[dict[int, float], dict[str, tuple[float, float]],
                                                                    torch.Tensor | None]:
    """On one demo model: how well blends of two concepts are told from plain samples of the first, by so many last
    steps, percentile and flag of the averages of the first, and pictures (SHOWN, H, W, 3) of the blends for
    the sheet."""
    model, first, second = task
    demo, _ = demo_and_judge(model == "transformer")
    from mental_averages.nodes import comfyui  # there once ComfyUI has been loaded

    draw = functools.partial(plain_samples, shape=demo.shape, count=arguments.samples, seed=SEED)
    usual_recording = comfyui.recording_model(demo.model, DEFAULT)
    plain, other = (on(demo, usual_recording, concept, lambda denoiser, sigmas: draw(denoiser, sigmas))
                    for concept in (first, second))
    usual, told = scores_of(demo, plain), {}
    for last in [DEFAULT] if arguments.quick else LAST:
        recording = comfyui.recording_model(demo.model, last)
        blends = finished(demo, recording, "", (plain + other) / 2)
        told[last] = auroc(scores_of(demo, blends), scores_of(demo, finished(demo, recording, "", plain)))
    averages = {}
    for name, latents in made(demo, usual_recording, first, plain).items():
        ranks = against_references(scores_of(demo, latents), usual,
                                   false_positive_rate=max(RATE, 1 / (arguments.samples + 1)))
        averages[name] = ranks.percentiles[0].item(), float(ranks.flags[0].item())
    print(f"{model}, {first}: done", flush=True)
    return told, averages, demo.decode(blends[:SHOWN]) if arguments.sheet else None


def on_demo(model: str, pairs: list[tuple[str, str]], results: list[tuple], arguments: Any) -> dict[str, float]:
    """Print the tables of a demo model; its figures."""
    told = {last: np.array([found[last] for found, *_ in results]) for last in results[0][0]}
    averages = {name: np.array([found[name] for _, found, _ in results]) for name in results[0][1]}  # (concepts, 2)
    print(f"\n{model}: blends of two concepts against plain samples, both from the middle of {STEPS} steps; "
          f"{len(results)} pairs, {arguments.samples} of each\n")
    print_table(["last steps", "AUROC", *map(" and ".join, pairs)],
                [[str(last), with_interval(values), *(f"{value:.3f}" for value in values)]
                 for last, values in told.items()])
    print(f"\n{model}: averages among {arguments.samples} plain samples of their concept, last {DEFAULT} steps\n")
    print_table(["average", "percentile", "flagged"],
                [[name, with_interval(values[:, 0]), with_interval(values[:, 1])] for name, values in averages.items()])
    figures = {}
    for last, values in told.items():
        figures[f"blend_auroc_{model}_last_{last}"] = float(values.mean())
        figures |= {f"blend_auroc_{model}_{'_and_'.join(pair)}_last_{last}".replace(" ", "_"): float(value)
                    for pair, value in zip(pairs, values)}
    for name, values in averages.items():
        key = name.replace(",", "").replace(" ", "_")
        figures |= {f"percentile_{key}_{model}": float(values[:, 0].mean()),
                    f"flagged_{key}_{model}": float(values[:, 1].mean())}
    return figures


def made(demo: DemoModel, model: Any, concept: str, plain: torch.Tensor) -> dict[str, torch.Tensor]:
    """Finished averages (1, C, H, W) of a concept, by name."""
    def shift(denoiser, sigmas):
        return shifted_average(denoiser, sigmas, demo.shape, GUIDANCE, 0).latents

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
        models=dict(nargs="*", choices=["unet", "transformer"]),
        workers=dict(type=int, default=2, help="processes that share networks and concepts"),
        sheet=dict(type=Path, help="write a sheet of blends: one row a model and pair of concepts"))
    fill_in(arguments, networks=(5, 1), training=(10000, 2500), points=(100000, 20000), concepts=(len(CONCEPTS), 2),
            samples=(64, 19), toys=(list(TOYS), ["20 steps", "100 steps"]), models=(["unet", "transformer"], ["unet"]))
    concepts = CONCEPTS[: arguments.concepts]
    pairs = list(zip(concepts, [*concepts[1:], concepts[0]]))
    with processes(arguments.workers) as pool:
        networks = results_of(pool, of_network, range(arguments.networks), arguments)
        tasks = [(model, *pair) for model in arguments.models for pair in pairs]
        results = results_of(pool, on_concept, tasks, arguments)
    figures = toy(networks, arguments)
    for number, model in enumerate(arguments.models):
        figures |= on_demo(model, pairs, results[number * len(pairs) : (number + 1) * len(pairs)], arguments)
    write_figures(figures, arguments.json)
    if arguments.sheet:
        save_sheet([pictures for *_, pictures in results],
                   [f"{first} and {second}, {NAMES[model]}" for model, first, second in tasks],
                   "Means of two samples, noised to the middle of sampling and finished without a prompt",
                   arguments.sheet, columns=SHOWN)


if __name__ == "__main__":
    main()
