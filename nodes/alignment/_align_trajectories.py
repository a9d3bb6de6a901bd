"""AlignTrajectories: the mental average itself."""
from __future__ import annotations

import dataclasses
import functools
from dataclasses import asdict

from comfy_api.latest import io

from ...dma import alignment, execution, models, solvers
from .. import comfyui, inputs
from ..comfyui import ProgressReporter, checkpoints
from ..inputs import HSPACE, REPORT, checked

CUSTOM = "custom"
# What the widgets of custom hold at first, so that its numbers can be changed one by one.
STANDARD = alignment.PRESETS["standard"]


class AlignTrajectories(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AlignTrajectories", display_name="Align Trajectories (Mental Average)", category=inputs.category(),
            description="Draws what the model thinks a prompt looks like: pulls many denoising trajectories to their "
                        "mean in the semantic space.",
            search_aliases=["mental average", "DMA", "progressive trajectory alignment", "prototype", "average",
                            "average face", "typical", "concept", "bias"],
            inputs=[
                io.MultiType.Input("hspace", [io.Model, HSPACE], display_name="model",
                                   tooltip="Any model that HSpaceHook takes, or HSpaceHook itself, which chooses "
                                           "another layer than the model's own semantic one."),
                inputs.concept(),
                inputs.negative(),
                inputs.latent_size(),
                io.DynamicCombo.Input("preset", options=presets(),
                                      tooltip="How much work goes into the average. standard: nearly what the paper's "
                                              "method gives, for 1/300 of its work or less. draft: one picture, to "
                                              "try out prompts. paper: the published recipe. custom: numbers of your "
                                              "own, from those of standard on. The help page has them all."),
                io.Int.Input("count", default=64, min=1, max=100000,
                             tooltip="K: how many trajectories are averaged. The paper uses 1000; the error of the "
                                     "mean falls with the square root of K."),
                inputs.steps(),
                io.Float.Input("cfg", default=7.0, min=0.0, max=100.0, step=0.1,
                               tooltip="Guidance scale. The paper uses 7, and 3 with adapters."),
                inputs.scheduler(),
                inputs.seed(),
                inputs.batch_size(),
                io.Combo.Input("branch", options=list(comfyui.BRANCHES), default="conditional", optional=True,
                               advanced=True,
                               tooltip="Whose features are matched: with the prompt (default), with the negative "
                                       "prompt, or both mixed by cfg."),
                inputs.resume(),
                io.Float.Input("restored_noise", default=0.0, min=0.0, max=1.0, step=0.05, optional=True, advanced=True,
                               tooltip="Averaging cancels noise, and detail with it. This share of the lost noise is "
                                       "given back after the last aligned step, the same for all latents: sharper "
                                       "pictures, which depend a little more on the seed. 0 is the paper's method."),
                io.Boolean.Input("save_memory", default=False, optional=True, advanced=True,
                                 tooltip="Keep only the inputs of the model's blocks for the backward pass and run "
                                         "each block again there: the same gradients for less memory and more time. "
                                         "Turn it on when one latent alone does not fit."),
                inputs.first_mean(),
            ],
            outputs=[
                io.Latent.Output("latent", display_name="latent",
                                 tooltip="The finished latents (keep of them), for VAE Decode."),
                REPORT.Output("report", display_name="report",
                              tooltip="Residuals, spread and error of the mean, for PlotReport."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, hspace, positive, negative, latent_image, preset, count, steps, cfg, scheduler, seed,
                batch_size=0, branch="conditional", resume=True, restored_noise=0.0,
                save_memory=False, first_mean=None) -> io.NodeOutput:
        hspace = comfyui.semantic_space(hspace)
        model = hspace.model
        settings = with_effort(
            alignment.AlignmentSettings(count=count, seed=seed, restored_noise=restored_noise), preset, steps)
        if save_memory and settings.aligned_steps and isinstance(settings.solver, solvers.GaussNewton):
            raise ValueError("Gauss-Newton differentiates the model twice, which needs all that save_memory does not "
                             "keep: turn save_memory off, or choose the solver L-BFGS or Adam.")
        comfyui.check_conditioning(positive, "positive")
        comfyui.check_conditioning(negative, "negative")
        shape = comfyui.drawn_shape(model, latent_image, "AlignTrajectories")
        sigmas = comfyui.sigmas_of(model, scheduler, steps)
        settings.check(len(sigmas) - 1)
        batch = execution.batch_of(batch_size)
        begun, given, of_mean = None, {}, {}
        if first_mean is not None:
            if not settings.aligned_steps:
                raise ValueError("first_mean is connected, but aligned_steps is 0, with which nothing is averaged: "
                                 "raise aligned_steps, or connect nothing.")
            of_mean = inputs.settings_of_mean(
                inputs.FEATURES_OF_MEAN, model, positive, negative, shape, sigmas, seed, cfg, layer=hspace.layer,
                pooling=hspace.pooling, branch=branch)
            inputs.check_first_mean(first_mean, of_mean)
            settings = dataclasses.replace(settings, count=first_mean.total, mean_error=0.0,
                                           keep=min(preset.get("keep", 1), first_mean.total))
            moments = {name: tree.moments() for name, tree in first_mean.trees.items()}
            begun = functools.partial(alignment.State.of_first_mean, moments["features"], moments["latents"])
            given = {"first_mean": moments["features"].mean}
        choices = {"solver_name": type(settings.solver).__name__, "sigmas": sigmas.tolist(), "shape": list(shape),
                   "guidance_scale": cfg, "layer": hspace.layer, "pooling": hspace.pooling, "branch": branch}
        key = comfyui.run_key(model, alignment.ALGORITHM, {**asdict(settings), **choices},
                              {"positive": positive, "negative": negative}, given)
        reporter = ProgressReporter(model, "AlignTrajectories")

        def align(denoiser) -> alignment.Alignment:
            if first_mean is not None:
                inputs.check_model_of_mean(first_mean, denoiser, of_mean)
            if settings.aligned_steps:
                with comfyui.advising_on_gradients(comfyui.OTHER_LAYER):
                    choices["gradient_error"] = models.check_gradient(denoiser, shape, sigmas[0].item())
            levels = sigmas[:-1].tolist()
            saved = (comfyui.saved_run(key, denoiser, levels, shape, levels[: settings.aligned_steps])
                     if resume else None)
            watchers = [alignment.Monitor(reporter, settings, sigmas,
                                          denoiser=denoiser if reporter.shows_previews else None)]
            return alignment.align(denoiser, sigmas, shape, settings, batch=batch,
                                   watchers=[*checkpoints(saved), *watchers],
                                   state=(comfyui.resumed("AlignTrajectories", alignment.State.unpacked, saved)
                                          or (begun and begun())))

        average = comfyui.with_denoiser(model, positive, negative, cfg, sigmas, shape, seed, align, hspace.layer,
                                            hspace.pooling, branch, save_memory, gradients=settings.aligned_steps > 0,
                                            at_once=min(batch_size, settings.count))
        average.report.settings.update(choices, preset=preset["preset"])
        return io.NodeOutput(comfyui.latents_out_of_model(model, average.latents), average.report)


def presets() -> list[io.DynamicCombo.Option]:
    """The choices of effort, each with the inputs that have an effect with it."""
    def keep() -> io.Int.Input:
        return io.Int.Input("keep", default=4, min=1, max=4096,
                            tooltip="How many of the aligned trajectories are finished and returned. They should look "
                                    "alike: that is the check.")

    solver = [
        io.DynamicCombo.Option("L-BFGS", []),
        io.DynamicCombo.Option("Adam", [
            io.Float.Input("learning_rate", default=0.02, min=0.0001, max=1.0, step=0.0001, round=False,
                           tooltip="Adam's learning rate, in the units of the paper (latents of unit variance)."),
        ]),
        io.DynamicCombo.Option("Gauss-Newton", []),
    ]
    custom = [
        io.Int.Input("aligned_steps", default=STANDARD.aligned_steps, min=0, max=1000,
                     tooltip="How many of the first steps pull the trajectories together; the rest is plain sampling. "
                             "The paper uses 10 of 20."),
        io.DynamicCombo.Input("solver", options=solver,
                              tooltip="How latents are matched to the mean. L-BFGS: the same result as Adam in fewer "
                                      "iterations. Adam: the paper's. Gauss-Newton: few costly iterations, needs a "
                                      "model that can be differentiated twice."),
        io.Int.Input("iterations", default=STANDARD.solver.iterations, min=0, max=10000,
                     tooltip="Most optimiser iterations per aligned step; the paper uses 300 of Adam. A latent that "
                             "reaches the tolerance stops earlier."),
        io.Float.Input("tolerance", default=STANDARD.solver.tolerance, min=0.0, max=1.0, step=0.0001, round=False,
                       tooltip="A latent is matched when its squared feature distance to the mean, relative to the "
                               "mean's squared norm, is below this. 0 always runs all iterations."),
        io.Float.Input("plateau", default=STANDARD.solver.plateau, min=0.0, max=1.0, step=0.001, round=False,
                       tooltip="A latent is also done when its residual has fallen by less than this share over the "
                               "last iterations (10 of Adam, 5 of L-BFGS, 3 of Gauss-Newton). 0: never."),
        io.Float.Input("mean_error", default=STANDARD.mean_error, min=0.0, max=1.0, step=0.001, round=False,
                       display_name="error of the mean",
                       tooltip="Stop adding trajectories to the first mean when its standard error, relative to its "
                               "norm, is at most this; count is then the most that are taken. 0 always takes all."),
        io.Float.Input("own_noise", default=STANDARD.own_noise, min=0.0, max=1.0, step=0.05, round=False,
                       display_name="share of own noise",
                       tooltip="Share of its own noise with which a trajectory enters the first matching; the rest is "
                               "the mean of all. 1 is the paper's method, smaller is faster. At 0 all would be the "
                               "same, so one is returned."),
        io.Int.Input("carried", default=STANDARD.carried, min=0, max=100000, display_name="carried on",
                     tooltip="How many latents are matched and carried on after the first mean has been taken over all "
                             "count of them. 0: all, as in the paper. Each costs some hundred passes, one that is not "
                             "carried a short one; at least keep are carried."),
        keep(),
    ]
    return [io.DynamicCombo.Option("standard", [keep()]), io.DynamicCombo.Option("draft", []),
            io.DynamicCombo.Option("paper", [keep()]), io.DynamicCombo.Option(CUSTOM, custom)]


def with_effort(settings: alignment.AlignmentSettings, preset: dict, steps: int) -> alignment.AlignmentSettings:
    """`settings` with the effort of a value of the input preset, for a schedule of `steps` steps."""
    settings = dataclasses.replace(settings, keep=min(preset.get("keep", 1), settings.count))
    if preset["preset"] != CUSTOM:
        return alignment.PRESETS[preset["preset"]].apply(settings, steps)
    return dataclasses.replace(
        settings, solver=make_solver(preset["solver"], preset["iterations"], preset["tolerance"], preset["plateau"]),
        **{name: preset[name] for name in ("aligned_steps", "carried", "own_noise", "mean_error")})


def make_solver(choice: dict, iterations: int, tolerance: float, plateau: float) -> solvers.Solver:
    """The solver that the widgets describe."""
    limits = dict(iterations=iterations, tolerance=tolerance, plateau=plateau)
    if choice["solver"] == "Adam":
        return solvers.Adam(learning_rate=choice["learning_rate"], **limits)
    return solvers.LBFGS(**limits) if choice["solver"] == "L-BFGS" else solvers.GaussNewton(**limits)
