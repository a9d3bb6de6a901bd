"""AlignMixtureModes: the modes of a concept and the average of each, without training."""
from __future__ import annotations

import dataclasses
from dataclasses import asdict

import torch
from comfy_api.latest import io

from ...dma import alignment, clustering, execution, models
from .. import comfyui, inputs
from ..comfyui import ProgressReporter, checkpoints
from ..inputs import CLUSTERS, HSPACE, REPORT, check_training_latents, checked


class AlignMixtureModes(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        components = [
            io.DynamicCombo.Option("bic", [
                io.Int.Input("smallest", default=1, min=1, max=100,
                             tooltip="The smallest number of modes that is tried."),
                io.Int.Input("largest", default=6, min=1, max=100,
                             tooltip="The largest number of modes that is tried; not more than count."),
            ]),
            io.DynamicCombo.Option("fixed",
                                   [io.Int.Input("modes", default=2, min=1, max=100, tooltip="The number of modes.")]),
        ]
        return io.Schema(
            node_id="AlignMixtureModes", display_name="Align Mixture Modes", category=inputs.category("modes"),
            description="Finds the modes of a prompt in the model's own semantic space and draws the mental average of "
                        "each, without training.",
            search_aliases=["modes", "mixture", "clusters", "mental average", "gaussian mixture", "multimodal"],
            inputs=[
                io.MultiType.Input("hspace", [io.Model, HSPACE], display_name="model",
                                   tooltip="Any model that HSpaceHook takes, or HSpaceHook itself, which chooses "
                                           "another layer than the model's own semantic one."),
                inputs.concept(),
                inputs.negative(),
                inputs.latent_size(),
                io.Int.Input("count", default=64, min=0, max=100000,
                             tooltip="K: how many samples the modes are looked for in (2 or more). Each is sampled to "
                                     "the end, and a mode should have 8 or more of them."),
                io.DynamicCombo.Input("components", options=components,
                                      tooltip="bic: the number of modes with the lowest Bayesian information "
                                              "criterion. fixed: a number of your own."),
                inputs.steps(),
                io.Int.Input("aligned_steps", default=4, min=0, max=1000,
                             tooltip="How many steps, from the mixture's level on, pull the members of a mode "
                                     "together; the rest is plain sampling."),
                io.Float.Input("cfg", default=3.0, min=0.0, max=100.0, step=0.1,
                               tooltip="Guidance scale. High values leave little of a concept's variety, and so few "
                                       "modes."),
                inputs.scheduler(),
                inputs.seed(),
                io.Combo.Input("preset", options=list(alignment.PRESETS), default="standard",
                               tooltip="How the members of a mode are matched to its mean, as in AlignTrajectories. "
                                       "draft: one latent. standard: four. paper: all members, 300 iterations of "
                                       "Adam."),
                io.Float.Input("mixture_level", default=0.3, min=0.0, max=0.95, step=0.01, round=False,
                               tooltip="Where the modes are looked for and alignment starts, as a share of sampling. "
                                       "Early: large differences such as layout. Late: finer ones, with less left to "
                                       "align."),
                io.Latent.Input("samples", optional=True,
                                tooltip="Finished latents to look for modes in, instead of samples that this node "
                                        "draws: those of another sampler, or pictures from VAE Encode. count is then "
                                        "theirs."),
                io.Int.Input("dimensions", default=16, min=1, max=1024, optional=True, advanced=True,
                             tooltip="The number of principal components of the features that the mixture is fitted "
                                     "to."),
                io.Combo.Input("covariance", options=list(clustering.COVARIANCES), default="spherical", optional=True,
                               advanced=True,
                               tooltip="The shape of a mode. spherical: a ball, which needs the fewest samples. diag, "
                                       "full, tied: see CLIPGMMClusters."),
                io.Int.Input("minimum_size", default=4, min=1, max=100000, optional=True, advanced=True,
                             tooltip="Modes with fewer samples are dissolved; their samples go to the likeliest of the "
                                     "others."),
                io.Float.Input("restored_noise", default=0.0, min=0.0, max=1.0, step=0.05, round=False, optional=True,
                               advanced=True,
                               tooltip="Share of the noise lost by averaging that is given back after the last aligned "
                                       "step. 0 is the paper's method."),
                inputs.batch_size(),
                inputs.resume(),
            ],
            outputs=[
                io.Latent.Output("latents", display_name="latents",
                                 tooltip="The average of each mode, the largest mode first, for VAE Decode."),
                CLUSTERS.Output("clusters", display_name="clusters",
                                tooltip="Which sample is in which mode, for SelectMode with the samples or their "
                                        "pictures."),
                io.Latent.Output("samples", display_name="samples",
                                 tooltip="The plain samples, or those that are connected, in the order of clusters: to "
                                         "be decoded and looked at."),
                REPORT.Output("report", display_name="report",
                              tooltip="Residuals, BIC, and whether each average has come out in its own mode, for "
                                      "PlotReport and SaveReport."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, hspace, positive, negative, latent_image, count, components, steps, aligned_steps, cfg, scheduler,
                seed, preset, mixture_level, samples=None, dimensions=16, covariance="spherical", minimum_size=4,
                restored_noise=0.0, batch_size=0, resume=True) -> io.NodeOutput:
        hspace = comfyui.semantic_space(hspace)
        model = hspace.model
        clean = None
        if samples is not None:
            comfyui.latent_shape(model, samples)
            check_training_latents(samples["samples"])
            clean = comfyui.latents_into_model(model, comfyui.samples_of(model, samples))  # (K, C, H, W)
            count, latent_image = len(clean), samples
        settings = alignment.PRESETS[preset].apply(
            alignment.AlignmentSettings(count=count, keep=1, seed=seed, restored_noise=restored_noise), steps)
        # Every sample counts: it has been sampled already, which costs far more than its features.
        settings = dataclasses.replace(settings, aligned_steps=aligned_steps, mean_error=0.0)
        smallest, largest = ((components["modes"],) * 2 if components["components"] == "fixed"
                             else (components["smallest"], components["largest"]))
        mixture = clustering.ClusterSettings(smallest, largest, dimensions=dimensions, covariance=covariance,
                                             minimum_size=minimum_size)
        comfyui.check_conditioning(positive, "positive")
        comfyui.check_conditioning(negative, "negative")
        shape = comfyui.drawn_shape(model, latent_image, "AlignMixtureModes")
        sigmas = comfyui.sigmas_of(model, scheduler, steps)
        level = round(mixture_level * (len(sigmas) - 1))
        alignment.check_mixture(settings, mixture, level, len(sigmas) - 1)
        batch = execution.batch_of(batch_size)
        choices = {"shape": list(shape), "guidance_scale": cfg, "layer": hspace.layer, "pooling": hspace.pooling}
        key = comfyui.run_key(model, alignment.MIXTURE_ALGORITHM, {
            **asdict(settings), **choices, "mixture": asdict(mixture), "level": level, "sigmas": sigmas.tolist(),
            "solver_name": type(settings.solver).__name__, "node": "AlignMixtureModes"},
            {"positive": positive, "negative": negative}, {} if clean is None else {"samples": clean})
        reporter = ProgressReporter(model, "AlignMixtureModes")

        def align(denoiser) -> alignment.MixtureAlignment:
            if aligned_steps:
                with comfyui.advising_on_gradients(comfyui.OTHER_LAYER):
                    choices["gradient_error"] = models.check_gradient(denoiser, shape, sigmas[level].item())
            levels = sigmas[:-1].tolist()
            # Features are read at the mixture's level and the aligned ones, and of the finished latents at the lowest.
            place = (comfyui.saved_run(key, denoiser, levels, shape,
                                       [*levels[level : level + max(1, aligned_steps)], levels[-1]])
                     if resume else None)

            def saved(part: str) -> execution.RunState:
                return dataclasses.replace(place, key=f"{key}-{part.replace(' ', '-')}")

            monitor = alignment.MixtureMonitor(reporter, settings, sigmas, mixture, level, sampled=clean is not None,
                                               denoiser=denoiser if reporter.shows_previews else None)
            return alignment.align_mixture(
                denoiser, sigmas, shape, settings, mixture, level, samples=clean, batch=batch,
                watchers=[*checkpoints(saved if resume else None), monitor],
                restored=lambda part: comfyui.found_again("AlignMixtureModes", part, saved(part) if resume else None))

        found = comfyui.with_denoiser(model, positive, negative, cfg, sigmas, shape, seed, align, hspace.layer,
                                          hspace.pooling, gradients=aligned_steps > 0, at_once=min(batch_size, count))
        found.report.settings.update(choices, preset=preset)
        return io.NodeOutput(comfyui.latents_out_of_model(model, torch.cat(found.latents)), found.clusters,
                             comfyui.latents_out_of_model(model, found.samples), found.report)
