"""DDIMInvert: from pictures to the noise that deterministic sampling turns into them."""
from __future__ import annotations

import dataclasses
import logging

from comfy_api.latest import io

from ...dma import diffusion, inversion, models
from ...dma.inversion import DpmEncoder, FixedPoint
from .. import comfyui, inputs
from ..comfyui import ProgressReporter
from ..inputs import REPORT, TRAJECTORY, checked, method_of, schedule, solver_options
from ._source_trajectory import SourceTrajectory

# Of what a patch or a model draws at random: one for both ways, so that the way back is the one that was taken.
GENERATOR_SEED = 0
# These follow the ODE of one velocity field, which strong guidance makes too rough for them.
MADE_FOR_GUIDANCE_1 = ("ddim", "midpoint", "fireflow", "rf_inversion")
# What a model of half precision rounds is more than this.
HALF_PRECISION = 1e-4
# Noise of a level below this share of the model's highest is told of where it is longer than ordinary noise by so much.
FULL_NOISE, LONG_NOISE = 0.5, 1.1


def noise_seed(tooltip: str) -> io.Int.Input:
    # Without a widget that says what becomes of it after a run: the page leaves that behind when the method changes.
    return io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, tooltip=tooltip)


class DDIMInvert(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        ddim, fixed_point, midpoint, fireflow = solver_options()
        methods = [
            ddim, fixed_point,
            io.DynamicCombo.Option("exact", [
                io.Float.Input("gamma", default=0.95, min=0.01, max=1.0, step=0.01,
                               tooltip="Below 1 rounding dies out on the way back, but errors grow on the way up. 0.95 "
                                       "suits up to about 100 steps; use 0.98 or more beyond."),
            ]),
            io.DynamicCombo.Option("negative_prompt", []),
            io.DynamicCombo.Option("null_text", [
                io.Int.Input("iterations", default=10, min=0, max=1000,
                             tooltip="Most optimiser iterations per step and latent."),
                io.Float.Input("learning_rate", default=0.01, min=0.00001, max=1.0, step=0.0001, round=False,
                               tooltip="Adam's learning rate at the first step; it falls to half of it at the last."),
            ]),
            midpoint, fireflow,
            io.DynamicCombo.Option("rf_inversion", [
                io.Float.Input("gamma", default=0.5, min=0.0, max=1.0, step=0.01,
                               tooltip="Pull towards ordinary noise on the way up: 0 is plain inversion, 1 ends in "
                                       "noise that knows nothing of the picture."),
                io.Float.Input("eta", default=1.0, min=0.0, max=1.0, step=0.01,
                               tooltip="Pull towards the picture on the way back: 0 is plain sampling."),
                io.Float.Input("controlled", default=0.25, min=0.0, max=1.0, step=0.01,
                               tooltip="Share of the first steps of the way back on which eta acts."),
                noise_seed("Seed of the ordinary noise that it pulls to."),
            ]),
            io.DynamicCombo.Option("dpm_encoder", [
                io.Float.Input("eta", default=1.0, min=0.01, max=1.0, step=0.01,
                               tooltip="Fresh noise of every step of the way back: 1 is DDPM, near 0 nearly DDIM. "
                                       "What another prompt changes grows with it."),
                noise_seed("Seed of the fresh noise."),
            ]),
        ]
        return io.Schema(
            node_id="DDIMInvert", display_name="DDIM Invert", category=inputs.category("inversion"),
            description="Finds the noise from which deterministic sampling makes given pictures, or the noises of "
                        "stochastic sampling, and says how well it does.",
            search_aliases=["inversion", "unsampler", "null-text", "fixed point", "RF-Inversion", "RF-Solver",
                            "FireFlow", "BDIA", "DPM-Encoder", "CycleDiffusion", "noise of an image"],
            inputs=[
                io.Model.Input("model", tooltip="The model to invert with."),
                io.Conditioning.Input("positive", tooltip="What the pictures show."),
                io.Latent.Input("latent_image",
                                tooltip="Encoded pictures. A batch is inverted as a batch, each picture by itself."),
                io.Int.Input("steps", default=50, min=1, max=1000,
                             tooltip="Steps up. More steps lose less. Without effect when sigmas are connected."),
                inputs.scheduler("Noise levels. Without effect when sigmas are connected."),
                io.Float.Input("cfg", default=1.0, min=0.0, max=100.0, step=0.1,
                               tooltip="Guidance scale. Leave it at 1 for all methods but null_text and "
                                       "negative_prompt: they invert at 1, and cfg is that of the way back."),
                io.DynamicCombo.Input("method", options=methods,
                                      tooltip="ddim is the plain method; fixed_point and exact come back to the "
                                              "picture; null_text and negative_prompt are for a way back with "
                                              "guidance; midpoint, fireflow and rf_inversion are made for flow "
                                              "models; dpm_encoder keeps the noise of every step, for another prompt "
                                              "or model with the same noise (CycleDiffusion)."),
                io.Conditioning.Input("negative", optional=True,
                                      tooltip="What guidance leads away from. Needed where cfg is not 1."),
                io.Sigmas.Input("sigmas", optional=True,
                                tooltip="Noise levels, falling or rising, instead of steps and scheduler."),
                io.Boolean.Input("measure", default=True, optional=True, advanced=True,
                                 tooltip="Go back again and measure what was lost, for the report. Costs about twice "
                                         "the inversion itself."),
            ],
            outputs=[
                io.Latent.Output("latent", display_name="latent",
                                 tooltip="The noise z, one per picture, in units of ordinary noise: for DDIMSample, or "
                                         "to be averaged."),
                TRAJECTORY.Output("trajectory", display_name="trajectory",
                                  tooltip="The latents of picture and noise and what the method needs for the way "
                                          "back, for DDIMSample."),
                REPORT.Output("report", display_name="report",
                              tooltip="Residuals, norms and the error of the round trip, for PlotReport."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, model, positive, latent_image, steps, scheduler, cfg, method, negative=None, sigmas=None,
                measure=True) -> io.NodeOutput:
        chosen = method["method"]
        comfyui.check_model(model)
        comfyui.check_conditioning(positive, "positive")
        if negative is not None:
            comfyui.check_conditioning(negative, "negative")
        elif cfg != 1.0 and chosen != "negative_prompt":
            raise ValueError(f"cfg is {cfg}, so guidance needs something to lead away from: connect the negative "
                             "input, or set cfg to 1.")
        if chosen == "null_text" and cfg <= 1.0:
            raise ValueError("null_text finds unconditional embeddings for a way back with guidance, but cfg is "
                             f"{cfg}: set cfg to that of the sampling, such as 7.5, or choose another method.")
        shape = comfyui.latent_shape(model, latent_image)
        levels = schedule(model, scheduler, steps, sigmas)
        solver = method_of(method)
        solver.check(comfyui.parametrization_of(model))
        warnings = []
        if cfg > 1.0 and chosen in MADE_FOR_GUIDANCE_1:
            warnings.append(f"cfg is {cfg}, but {chosen} is made for cfg 1: the way back will miss the pictures. Use "
                            "cfg 1, or null_text, negative_prompt, fixed_point or exact.")
        samples = comfyui.samples_of(model, latent_image)
        with comfyui.advising(comfyui.FINISHED_LATENT):
            inversion.check_clean(samples)
        clean = comfyui.entering(model, comfyui.latents_into_model(model, samples), levels[-1])
        reporter = ProgressReporter(model, "DDIMInvert")

        def run(guidance: float, function):
            return comfyui.with_denoiser(model, positive, positive if negative is None else negative, guidance,
                                         levels, shape, GENERATOR_SEED, function, layer=None, latents=len(clean),
                                         gradients=chosen == "null_text")

        def monitor(measure: bool, *part: float) -> inversion.InversionMonitor:
            return inversion.InversionMonitor(reporter, len(levels) - 1, measure=measure, part=part)

        def invert(guidance: float, measure: bool, *part: float, whole: bool = False) -> inversion.Inversion:
            return run(guidance, lambda denoiser: inversion.invert(denoiser, clean, levels, method=solver,
                                                                   measure=measure, whole=whole,
                                                                   watchers=[monitor(measure, *part)]))

        def check(denoiser) -> None:
            embedding = denoiser.unconditional_embedding().detach().clone().requires_grad_()
            x = clean[:1].clone().to(denoiser.device)  # (1, C, H, W)
            with comfyui.advising_on_gradients():
                models.check_differentiable(lambda: diffusion.of_rows(denoiser, [0]).denoise_with(
                    x, levels[0].item(), embedding), [embedding],
                                            "no unconditional embeddings can be found")

        if chosen == "null_text":
            run(cfg, check)
            pivot = invert(1.0, False, 0.0, 0.05, whole=True)
            settings = inversion.NullText(iterations=method["iterations"], learning_rate=method["learning_rate"])
            found = run(cfg, lambda denoiser: inversion.optimise_null_text(
                denoiser, pivot, settings=settings, measure=measure, watchers=[monitor(measure, 0.05, 1.0)]))
        else:
            found = invert(1.0 if chosen == "negative_prompt" else cfg, measure, 0.0, 1.0)
        if isinstance(solver, FixedPoint):
            warnings.extend(unsolved_steps(found.report.steps, solver, comfyui.rounding_of_model(model)))
        if sigmas is not None and not isinstance(solver, DpmEncoder):
            highest = comfyui.sigmas_of(model, "simple", 1)[0].item()
            warnings.extend(long_noise(found.trajectory, highest))
        for warning in warnings:
            logging.warning("DDIMInvert: %s", warning)
        settings = {**found.report.settings, "method": chosen, "guidance_scale": cfg}
        report = dataclasses.replace(found.report, warnings=warnings, settings=settings)
        trajectory = SourceTrajectory(found.trajectory, cfg, positive if chosen == "negative_prompt" else None)
        noise = found.trajectory.noise
        latent = comfyui.coded_latent(noise, chosen) if isinstance(solver, DpmEncoder) else {"samples": noise}
        return io.NodeOutput(latent, trajectory, report)


def unsolved_steps(steps: list[inversion.InvertedStep], method: FixedPoint, rounding: float) -> list[str]:
    """What is to be said of fixed-point steps that ended above the tolerance, with a model that rounds so coarsely."""
    missed, total = inversion.unsolved(steps, method.tolerance)
    coarse = rounding >= HALF_PRECISION
    rounded = inversion.at_floor(steps, method) if coarse else []
    found = []
    if rounded:
        found.append(f"{len(rounded)} of {total} fixed-point steps ended at a residual of up to {max(rounded):.1g}, "
                     f"above the tolerance of {method.tolerance:g}, because the rounding of the model leaves no less. "
                     "A tolerance of that size saves calls; a model in fp32 comes nearer.")
    if missed > len(rounded):
        advice = ("use more steps, a lower cfg, or a model in fp32." if coarse else
                  "raise iterations, use more steps, or a lower cfg.")
        found.append(f"{missed - len(rounded)} of {total} fixed-point steps did not reach the tolerance of "
                     f"{method.tolerance:g}: {advice}")
    return found


def long_noise(trajectory: inversion.Trajectory, highest: float) -> list[str]:
    """What is to be said of noise of a level below the model's highest, where it holds so much of the pictures that it
    is longer than ordinary noise."""
    level, norm = trajectory.levels[-1], max(inversion.nominal_norms(trajectory.noise))
    if level > FULL_NOISE * highest or norm <= LONG_NOISE:
        return []
    return [f"The inversion ends at noise level {level:.3g}, far below the model's highest of {highest:.3g}, and its "
            f"noise is up to {norm:.2f} times as long as ordinary noise. To average or interpolate it choose nin, "
            "which keeps that length: fix makes it that of ordinary noise, too short for this level."]
