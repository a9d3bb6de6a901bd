"""The levers of alignment_speed.py one at a time: solvers, few carried latents, warm starts, memory formats."""
from __future__ import annotations

import dataclasses

import numpy as np
import torch
from _passes import BATCH, Counted, measure_costs
from support import (
    GUIDANCE,
    DemoModel,
    FeatureSpace,
    pairwise_distance,
    preset_settings,
    print_table,
    sharpness,
    timed,
    with_gradient,
)

from mental_averages.dma.alignment import AlignmentSettings, align
from mental_averages.dma.baselines import zero_latent_sample
from mental_averages.dma.diffusion import deterministic_step, paper_scale, starting_noise
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.solvers import LBFGS, Adam, GaussNewton


def solver_table(demo: DemoModel, concepts: list[str], count: int) -> None:
    """Residual against passes for each solver, at the first two aligned steps, with four latents carried."""
    solvers = [Adam(2e-2, 300), Adam(5e-2, 40), Adam(5e-2, 40, plateau=0.02), Adam(1e-1, 40),
               *(LBFGS(n) for n in (8, 15, 30, 60)), LBFGS(60, plateau=0.02),
               GaussNewton(2), GaussNewton(4), GaussNewton(4, inner=12), GaussNewton(8, plateau=0.02)]
    costs = demo.with_denoiser(concepts[0], GUIDANCE,
                               lambda denoiser, sigmas: measure_costs(denoiser, demo.shape, sigmas[0].item(), 3))
    rows = []
    for solver in solvers:
        measured = []
        for concept in concepts:
            def run(denoiser, sigmas):
                settings = AlignmentSettings(count=count, aligned_steps=2, keep=1, carried=4, solver=solver)
                seconds, result = timed(align, denoiser, sigmas[[0, 1, -1]], demo.shape, settings,
                                        batch=BatchSize(BATCH))
                step, later = result.report.steps
                return [seconds, np.mean(step.residual_before), *(np.mean(getattr(each, name)) for each in (step, later)
                                                                  for name in ("residual_after", "forwards",
                                                                               "backwards"))]

            measured.append(demo.with_denoiser(concept, GUIDANCE, run))
        seconds, before, first, forwards, backwards, second, *more = np.mean(measured, axis=0)
        changed = ", ".join(f"{field.name} {getattr(solver, field.name):g}" for field in dataclasses.fields(solver)
                            if getattr(solver, field.name) != field.default or field.name == "iterations")
        rows.append([f"{type(solver).__name__} ({changed})", f"{before:.3f}", f"{first:.4f}",
                     f"{forwards:.0f} + {backwards:.0f}", f"{forwards + costs['backward'] * backwards:.0f}",
                     f"{second:.5f}", f"{more[0]:.0f} + {more[1]:.0f}", f"{seconds:.1f}"])
        print(rows[-1], flush=True)
    print(f"\nK {count}, 4 carried, {len(concepts)} concepts; forward and backward passes per latent; the seconds "
          "include the mean\n")
    print_table(["solver", "residual before", "after step 1", "forward + backward", "encoder-pass equivalents",
                 "after step 2", "forward + backward", "seconds"], rows)


def carried_table(demo: DemoModel, concepts: list[str], repetitions: int, count: int) -> None:
    """Few latents matched and carried instead of all: how far their picture is from that of the full ensemble."""
    judge, choices = FeatureSpace(), [(0, 1.0), (16, 1.0), (8, 1.0), (4, 1.0), (1, 1.0), (16, 0.3), (8, 0.3), (4, 0.3),
                                      (1, 0.3), (1, 0.0)]
    measured: dict[tuple[int, float] | str, list[list[float]]] = {choice: []
                                                                  for choice in [*choices, "zero-latent sample"]}
    for concept in concepts:
        def run(denoiser, sigmas):
            latents, passes = {}, {}
            for choice in choices:
                counted = Counted(denoiser)
                settings = dataclasses.replace(preset_settings("standard", count), carried=choice[0],
                                               own_noise=choice[1], mean_error=0.0)
                latents[choice] = torch.cat([align(counted, sigmas, demo.shape,
                                                   dataclasses.replace(settings, seed=seed),
                                                   batch=BatchSize(BATCH)).latents
                                             for seed in range(repetitions)])
                passes[choice] = (counted.rows["features"] / repetitions, counted.rows["gradients"] / repetitions)
            zero = zero_latent_sample(denoiser, sigmas, demo.shape)
            latents["zero-latent sample"] = zero.expand(repetitions, -1, -1, -1)
            return latents, passes | {"zero-latent sample": (0, 0)}

        latents, passes = demo.with_denoiser(concept, GUIDANCE, run)
        pictures = {choice: demo.decode(rows) for choice, rows in latents.items()}
        features = {choice: judge(rows) for choice, rows in pictures.items()}
        whole, sharp = features[choices[0]], float(sharpness(pictures[choices[0]]).mean())
        for choice in measured:
            distance = max(0.0, float(1 - (features[choice] * whole).sum(1).mean()))
            measured[choice].append([pairwise_distance(features[choice]), distance,
                                     float(sharpness(pictures[choice]).mean()) / sharp, *passes[choice]])
        print(f"{concept}: " + ", ".join(f"{choice} {rows[-1][0]:.4f} {rows[-1][1]:.4f}"
                                         for choice, rows in measured.items()), flush=True)
    print(f"\nK {count}, {', '.join(concepts)}, {repetitions} repetitions, otherwise the standard preset\n")
    titles = ({choice: [str(choice[0] or f"{count} (all)"), f"{choice[1]:g}"] for choice in choices}
              | {"zero-latent sample": ["zero-latent sample", ""]})
    means = {choice: np.mean(rows, axis=0) for choice, rows in measured.items()}
    print_table(["carried", "own noise", "distance between repetitions", "distance to all carried", "sharpness",
                 "forward passes", "backward passes"],
                [[*titles[choice], f"{row[0]:.4f}", f"{row[1]:.4f}", f"{row[2]:.2f}", f"{row[3]:.0f}", f"{row[4]:.0f}"]
                 for choice, row in means.items()])


def warm_start_table(demo: DemoModel, concepts: list[str], count: int) -> None:
    """Where matching starts from: own noise, shrunken, the ensemble's mean, zero, the Gaussian picture; and Adam's
    state."""
    starts = {"own noise": (1, 1, 0), "0.3 of it": (0.3, 1, 0), "mean of all": (0, 1, 0), "zero": (0, 0, 0),
              "mean of all + mean prediction": (0, 1, 1)}
    measured, states = {name: [] for name in starts}, {"fresh": [], "carried over": []}
    solver = LBFGS(60, tolerance=1e-3, plateau=0.02)
    for concept in concepts:
        def run(denoiser, sigmas):
            sigma, following = sigmas[0].item(), sigmas[1].item()
            scale = paper_scale(denoiser.parametrization, sigma)
            z = starting_noise(count, demo.shape, 0).to(denoiser.device)
            x = z / scale
            target = torch.cat([denoiser.features(part, sigma) for part in x.split(BATCH)]).mean(0)
            clean = torch.cat([denoiser.denoise(part, sigma) for part in x.split(BATCH)]).mean(0)
            for name, (own, mean, gaussian) in starts.items():
                start = mean * z.mean(0) + own * (z[:4] - z.mean(0)) + gaussian * scale * clean
                match = solver.solve(lambda z: denoiser.features(z / scale, sigma),
                                     start if own else start[:1].expand(1, *demo.shape), target)
                measured[name].append([float(value.double().mean())
                                       for value in (match.residual_before, match.residual_after, match.iterations)])
            moved, state = adam(lambda z: denoiser.features(z / scale, sigma), z[:4], target, 40, None)
            latents = deterministic_step(moved / scale, denoiser.denoise(moved / scale, sigma), sigma, following)
            scale_next = paper_scale(denoiser.parametrization, following)
            target = denoiser.features(latents, following).mean(0)
            for name, given in (("fresh", None), ("carried over", state)):
                def left(iterations):
                    features = lambda z: denoiser.features(z / scale_next, following)  # noqa: E731
                    return residual(features(adam(features, latents * scale_next, target, iterations, given)[0]),
                                    target)

                states[name].append([left(iterations) for iterations in (0, 5, 15, 40)])

        demo.with_denoiser(concept, GUIDANCE, run)
    print(f"\nfirst match with {solver}, K {count}, {len(concepts)} concepts\n")
    print_table(["start", "residual before", "after", "iterations"],
                [[name, *(f"{value:.4f}" for value in np.mean(rows, axis=0)[:2]), f"{np.mean(rows, axis=0)[2]:.0f}"]
                 for name, rows in measured.items()])
    print("\nAdam at 0.05 in the second step, its state fresh or carried over from 40 iterations in the first: "
          "residual\n")
    print_table(["state", "start", "5 iterations", "15", "40"],
                [[name, *(f"{value:.5f}" for value in np.mean(rows, axis=0))] for name, rows in states.items()])


def format_table(demo: DemoModel, concept: str) -> None:
    """Memory layout, precision and compilation: time of a forward and backward pass, and how far features and gradient
    move."""
    network = demo.model.model.diffusion_model
    rows = []

    def run(denoiser, sigmas):
        sigma = sigmas[0].item()
        x = starting_noise(BATCH, demo.shape, 0).to(denoiser.device) * sigma

        def both():
            return with_gradient(lambda latents: denoiser.features(latents, sigma), x)

        def autocast():
            with torch.autocast(x.device.type, torch.bfloat16):
                return both()

        def measure(name, function):
            first, _ = timed(function)
            taken, found = min((timed(function) for _ in range(5)), key=lambda pair: pair[0])
            errors = [((new - old).norm() / old.norm()).item() for new, old in zip(found, reference)]
            rows.append([name, f"{1000 * taken / BATCH:.2f}", f"{first:.1f}", *(f"{error:.2g}" for error in errors)])

        reference = both()
        measure("as it is", both)
        network.to(memory_format=torch.channels_last)
        measure("channels last", both)
        network.to(memory_format=torch.contiguous_format)
        measure("bf16 autocast", autocast)
        measure("as it is, again", both)
        # The whole network cannot be compiled: a forward pass that ends at a layer is no graph. Its blocks can.
        for block in (block for blocks in (*network.input_blocks, network.middle_block) for block in blocks):
            block.compile(dynamic=False)
        measure("every block compiled", both)

    demo.with_denoiser(concept, GUIDANCE, run)
    print_table(["format", "forward and backward, ms a latent", "first call, s", "change of the features",
                 "change of the gradient"], rows)


def residual(found, target) -> float:
    return float((found - target).square().flatten(1).sum(1).mean() / target.square().sum())


def adam(features, start, target, iterations, state):
    """The last iterate of plain Adam at 0.05, and its state, which can be gone on from."""
    variable = torch.nn.Parameter(start.clone())
    optimiser = torch.optim.Adam([variable], lr=0.05)
    if state is not None:
        optimiser.load_state_dict(state)
    for _ in range(iterations):
        optimiser.zero_grad()
        with torch.enable_grad():
            (features(variable) - target).square().sum().backward()
        optimiser.step()
    return variable.detach(), optimiser.state_dict()
