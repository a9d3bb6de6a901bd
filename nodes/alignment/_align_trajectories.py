"""AlignTrajectories: the mental average itself."""
from __future__ import annotations

from dataclasses import asdict

from comfy_api.latest import io

from ...dma import alignment, execution, models, solvers
from .. import comfyui, inputs
from ..comfyui import ProgressReporter, checkpoints
from ..inputs import HSPACE, REPORT, checked

CUSTOM = "custom"
SOLVERS = ("Adam", "L-BFGS", "Gauss-Newton")
# The widgets of a new node hold its numbers, so that they can be changed one by one.
STANDARD = alignment.PRESETS["standard"]


class AlignTrajectories(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="AlignTrajectories", display_name="Align Trajectories (Mental Average)", category="dma",
            description="Draws what the model thinks a prompt looks like: pulls many denoising trajectories to their "
                        "mean in the semantic space.",
            search_aliases=["mental average", "DMA", "progressive trajectory alignment", "prototype", "average"],
            inputs=[
                HSPACE.Input("hspace", tooltip="From HSpaceHook: the model and its semantic layer."),
                inputs.concept(),
                inputs.negative(),
                inputs.latent_size(),
                io.Int.Input("count", default=64, min=0, max=100000,
                             tooltip="K: how many trajectories are averaged (1 or more). The paper uses 1000; the "
                                     "error of the mean falls with the square root of K."),
                inputs.steps(),
                io.Int.Input("aligned_steps", default=STANDARD.aligned_steps, min=0, max=1000,
                             tooltip="How many of the first steps pull the trajectories together; the rest is plain "
                                     "sampling. The paper uses 10 of 20."),
                io.Int.Input("iterations", default=STANDARD.solver.iterations, min=0, max=10000,
                             tooltip="Most optimiser iterations per aligned step; the paper uses 300 of Adam. A latent "
                                     "that reaches the tolerance stops earlier."),
                io.Float.Input("learning_rate", default=0.02, min=0.0001, max=1.0, step=0.0001, round=False,
                               tooltip="Adam's learning rate, in the units of the paper (latents of unit variance). "
                                       "Other solvers have none."),
                io.Float.Input("cfg", default=7.0, min=0.0, max=100.0, step=0.1,
                               tooltip="Guidance scale. The paper uses 7, and 3 with adapters."),
                inputs.scheduler(),
                inputs.seed(),
                io.Int.Input("keep", default=4, min=1, max=4096,
                             tooltip="How many of the aligned trajectories are finished and returned. They should look "
                                     "alike: that is the check."),
                io.Float.Input("tolerance", default=STANDARD.solver.tolerance, min=0.0, max=1.0, step=0.0001,
                               round=False, optional=True, advanced=True,
                               tooltip="A latent is matched when its squared feature distance to the mean, relative to "
                                       "the mean's squared norm, is below this. 0 always runs all iterations."),
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
                io.Int.Input("carried", default=STANDARD.carried, min=0, max=100000, optional=True, advanced=True,
                             tooltip="How many latents are matched and carried on after the first mean has been taken "
                                     "over all count of them. 0: all, as in the paper. 4 with a large count cost "
                                     "little more than 4 alone; at least keep are carried."),
                io.Combo.Input("preset", options=[CUSTOM, *alignment.PRESETS], default=CUSTOM, optional=True,
                               advanced=True,
                               tooltip="How much work goes into the average. custom: the values of this node as they "
                                       "stand, which are those of standard until you change them. The others set "
                                       "aligned_steps, iterations, learning_rate, tolerance, carried, solver, "
                                       "mean_error, plateau and own_noise, whatever stands there; their numbers are in "
                                       "the help page."),
                io.Combo.Input("solver", options=list(SOLVERS), default="L-BFGS", optional=True, advanced=True,
                               tooltip="How latents are matched to the mean. Adam: the paper's. L-BFGS: the same "
                                       "result in fewer iterations, no learning rate. Gauss-Newton: few costly "
                                       "iterations, needs a model that can be differentiated twice."),
                io.Float.Input("mean_error", default=STANDARD.mean_error, min=0.0, max=1.0, step=0.001, round=False,
                               optional=True, advanced=True,
                               tooltip="Stop adding trajectories to the first mean when its standard error, relative "
                                       "to its norm, is at most this; count is then the most that are taken. 0 always "
                                       "takes all."),
                io.Float.Input("plateau", default=STANDARD.solver.plateau, min=0.0, max=1.0, step=0.001, round=False,
                               optional=True, advanced=True,
                               tooltip="A latent is also done when its residual has fallen by less than this share "
                                       "over the last iterations (10 of Adam, 5 of L-BFGS, 3 of Gauss-Newton). 0: "
                                       "never."),
                io.Float.Input("own_noise", default=STANDARD.own_noise, min=0.0, max=1.0, step=0.05, round=False,
                               optional=True, advanced=True,
                               tooltip="Share of its own noise with which a trajectory enters the first matching; the "
                                       "rest is the mean of all. 1 is the paper's method, smaller is faster. At 0 all "
                                       "would be the same, so one is returned."),
                io.Boolean.Input("save_memory", default=False, optional=True, advanced=True,
                                 tooltip="Keep only the inputs of the model's blocks for the backward pass and run "
                                         "each block again there: the same gradients for less memory and more time. "
                                         "Turn it on when one latent alone does not fit."),
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
    def execute(cls, hspace, positive, negative, latent_image, count, steps, aligned_steps, iterations, learning_rate,
                cfg, scheduler, seed, keep, tolerance=STANDARD.solver.tolerance, batch_size=0, branch="conditional",
                resume=True, restored_noise=0.0, carried=STANDARD.carried, preset=CUSTOM, solver="L-BFGS",
                mean_error=STANDARD.mean_error, plateau=STANDARD.solver.plateau, own_noise=STANDARD.own_noise,
                save_memory=False) -> io.NodeOutput:
        model = hspace.model
        settings = alignment.AlignmentSettings(
            count=count, aligned_steps=aligned_steps, keep=min(keep, max(count, 1)), seed=seed,
            restored_noise=restored_noise, carried=carried,
            solver=make_solver(solver, learning_rate, iterations, tolerance, plateau), mean_error=mean_error,
            own_noise=own_noise)
        if preset != CUSTOM:
            settings = alignment.PRESETS[preset].apply(settings, steps)
        if save_memory and settings.aligned_steps and isinstance(settings.solver, solvers.GaussNewton):
            raise ValueError("Gauss-Newton differentiates the model twice, which needs all that save_memory does not "
                             "keep: turn save_memory off, or choose the solver L-BFGS or Adam.")
        comfyui.check_conditioning(positive, "positive")
        comfyui.check_conditioning(negative, "negative")
        shape = comfyui.latent_shape(model, latent_image)
        sigmas = comfyui.sigmas_of(model, scheduler, steps)
        settings.check(len(sigmas) - 1)
        batch = execution.batch_of(batch_size)
        choices = {"solver_name": type(settings.solver).__name__, "sigmas": sigmas.tolist(), "shape": list(shape),
                   "guidance_scale": cfg, "layer": hspace.layer, "pooling": hspace.pooling, "branch": branch}
        key = comfyui.run_key(model, alignment.ALGORITHM, {**asdict(settings), **choices},
                              {"positive": positive, "negative": negative})
        reporter = ProgressReporter(model, "AlignTrajectories")

        def align(denoiser) -> alignment.Alignment:
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
                                   state=execution.resumed(alignment.State.unpacked, saved))

        average = comfyui.with_denoiser(model, positive, negative, cfg, sigmas, shape, seed, align, hspace.layer,
                                            hspace.pooling, branch, save_memory)
        average.report.settings.update(choices, preset=preset)
        return io.NodeOutput(comfyui.latents_out_of_model(model, average.latents), average.report)


def make_solver(name: str, learning_rate: float, iterations: int, tolerance: float, plateau: float) -> solvers.Solver:
    """The solver that the widgets describe."""
    limits = dict(iterations=iterations, tolerance=tolerance, plateau=plateau)
    if name == "Adam":
        return solvers.Adam(learning_rate=learning_rate, **limits)
    return solvers.LBFGS(**limits) if name == "L-BFGS" else solvers.GaussNewton(**limits)
