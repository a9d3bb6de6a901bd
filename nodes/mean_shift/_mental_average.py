"""MentalAverage: the average of a prompt by mean shift."""
from __future__ import annotations

import functools
from dataclasses import asdict

import torch
from comfy_api.latest import io

from ...dma import execution, figures, mean_shift
from .. import comfyui, inputs
from ..comfyui import ProgressReporter, checkpoints
from ..inputs import REPORT, checked

STANDARD = mean_shift.MeanShiftSettings()
START_STEP = 4
BY_GUIDANCE = -1.0


class MentalAverage(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="MentalAverage", display_name="Mental Average", category=inputs.category(),
            description="One clear picture of what the model thinks a prompt looks like, nearly the same for every "
                        "seed: one clean latent, noised again and again and moved to the mean of what the model sees "
                        "in it.",
            search_aliases=["mean shift", "average", "average face", "prototype", "typical", "concept", "bias", "DMA"],
            inputs=[
                io.Model.Input("model", tooltip="Any model that a KSampler takes, quantised ones included."),
                inputs.concept(),
                inputs.latent_size(),
                io.Int.Input("count", default=STANDARD.count, min=1, max=100000,
                             tooltip="K: how many noises the mean of a level is taken over. Below 8 the "
                                     "seed begins to show; the error of the mean falls with the square root of K."),
                inputs.steps(),
                io.Int.Input("averaged_steps", default=STANDARD.averaged_steps, min=1, max=1000,
                             tooltip="How many of the first steps take a mean; the rest is plain sampling. "
                                     "6 of 20 is measured; more make the picture softer or let the seed show."),
                io.Float.Input("cfg", default=7.0, min=0.0, max=100.0, step=0.1,
                               tooltip="Guidance scale of the plain sampling in the end, from which that of the "
                                       "averaged levels follows."),
                inputs.scheduler(),
                inputs.seed("Seed of all noise. Another seed should give nearly the same picture."),
                io.Conditioning.Input("negative", optional=True,
                                      tooltip="What guidance leads away from. Nothing connected: a stand-in for the "
                                              "empty prompt, the start of the text alone for Stable Diffusion 1 and 2 "
                                              "and zeros for other models, with which the picture may be another than "
                                              "with an empty prompt connected."),
                io.Float.Input("guidance_share", default=mean_shift.GUIDANCE_SHARE, min=0.0, max=1.0, step=0.05,
                               round=False, optional=True, advanced=True,
                               tooltip="Guidance of the averaged levels: 1 + this share of (cfg - 1). It is applied at "
                                       "every level again, so that less of it is right. 1: the same as in the end; 0: "
                                       "none."),
                io.Float.Input("restored_noise", default=BY_GUIDANCE, min=-1.0, max=1.0, step=0.05, optional=True,
                               advanced=True,
                               tooltip="Share of the noise of a step that the average gets back before it is sampled "
                                       "to the end, the same for every seed: without it, low guidance draws too "
                                       "smoothly. -1: what suits cfg, all of it up to 3 and half from 7 on."),
                io.Float.Input("mean_error", default=STANDARD.mean_error, min=0.0, max=1.0, step=0.001, round=False,
                               optional=True, advanced=True,
                               tooltip="A level takes no more noises when the standard error of its mean, relative to "
                                       "its norm, is at most this; count is then the most. 0 always takes all."),
                inputs.batch_size(),
                inputs.resume(),
                io.Latent.Input("start", optional=True,
                                tooltip="Finished latents, of encoded pictures or of a mode (SelectMode): the average "
                                        "goes on from their mean instead of from nothing."),
                io.Int.Input("start_step", default=START_STEP, min=0, max=999, optional=True, advanced=True,
                             tooltip="The step before which the mean of start is noised for the first time. The later, "
                                     "the more of it is kept. Without start it means nothing."),
                io.String.Input("start_weights", default="", optional=True, advanced=True,
                                tooltip="One number for each latent of start, apart by spaces or commas. Empty: all "
                                        "count alike."),
                inputs.first_mean(),
            ],
            outputs=[
                io.Latent.Output("latent", display_name="latent", tooltip="The average, for VAE Decode."),
                io.Image.Output("variety", display_name="variety",
                                tooltip="Where looks differ, as a heat map of the picture's size: bright is what the "
                                        "prompt leaves open."),
                REPORT.Output("report", display_name="report",
                              tooltip="Error of the mean, spread and movement at each level, for PlotReport."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, model, positive, latent_image, count, steps, averaged_steps, cfg, scheduler, seed, negative=None,
                guidance_share=mean_shift.GUIDANCE_SHARE, restored_noise=BY_GUIDANCE,
                mean_error=STANDARD.mean_error, batch_size=0, resume=True, start=None, start_step=START_STEP,
                start_weights="", first_mean=None) -> io.NodeOutput:
        if restored_noise == BY_GUIDANCE:
            restored_noise = mean_shift.noise_for(cfg)
        elif restored_noise < 0:
            raise ValueError(f"restored_noise is {restored_noise:g}: choose a share from 0 to 1, or -1 for what suits "
                             "cfg.")
        settings = mean_shift.MeanShiftSettings(count=count, averaged_steps=averaged_steps, seed=seed,
                                                mean_error=mean_error, restored_noise=restored_noise)
        comfyui.check_one_prompt(positive, "positive")
        if negative is None:
            negative = comfyui.without_prompt(model, positive)
        else:
            comfyui.check_one_prompt(negative, "negative")
        shape = comfyui.drawn_shape(model, latent_image, "MentalAverage")
        sigmas = comfyui.sigmas_of(model, scheduler, steps)
        begin = start_of(model, start, start_step, start_weights, shape)
        first = begin.first if begin else 0
        settings.check(len(sigmas) - 1, first=first)
        averaged = mean_shift.averaged_guidance(cfg, guidance_share)
        choices = {"shape": list(shape), "guidance_scale": cfg, "averaged_guidance_scale": averaged, "first": first}
        begun, given, of_mean = None, {"start": begin.mean} if begin else None, {}
        if first_mean is not None:
            if begin:
                raise ValueError("start and first_mean are both connected, but an average begins from one of them.")
            of_mean = inputs.settings_of_mean(inputs.PREDICTIONS_OF_MEAN, model, positive, negative, shape, sigmas,
                                              seed, averaged)
            inputs.check_first_mean(first_mean, of_mean)
            moments = first_mean.trees["predictions"].moments()
            begun = functools.partial(mean_shift.MeanShiftState.of_first_mean, moments, sigmas[0].item())
            given = {"first_mean": moments.mean}
        key = comfyui.run_key(model, mean_shift.ALGORITHM, {**asdict(settings), **choices, "sigmas": sigmas.tolist()},
                              {"positive": positive, "negative": negative}, given)
        reporter = ProgressReporter(model, "MentalAverage")
        sampling = (model, positive, negative, cfg, sigmas, shape, seed)

        def place(denoiser) -> execution.RunState:
            return comfyui.saved_run(key, denoiser, sigmas[:-1].tolist(), shape)

        def average(denoiser) -> mean_shift.MeanShift:
            if first_mean is not None:
                inputs.check_model_of_mean(first_mean, denoiser.with_guidance(averaged), of_mean)
            return mean_shift.mean_shift(
                denoiser, sigmas, shape, settings, batch=execution.batch_of(batch_size),
                averaging=denoiser.with_guidance(averaged), start=begin,
                watchers=[*checkpoints(saved), mean_shift.MeanShiftMonitor(reporter, settings,
                                                                                len(sigmas) - 1 - first)],
                state=(comfyui.resumed("MentalAverage", mean_shift.MeanShiftState.unpacked, saved)
                       or (begun and begun())))

        # In a sampling of its own: it goes down the schedule, from where keyframes of hooks never come back.
        saved = comfyui.with_denoiser(*sampling, place, layer=None, gradients=False) if resume else None
        found = comfyui.with_denoiser(*sampling, average, layer=None, gradients=False, at_once=min(batch_size, count))
        found.report.settings.update(choices)
        variety = figures.heat_map(found.spread, factor=model.model.latent_format.spacial_downscale_ratio)
        return io.NodeOutput(comfyui.latents_out_of_model(model, found.latents), variety, found.report)


def start_of(model, start: dict | None, step: int, weights: str,
             shape: tuple[int, ...]) -> mean_shift.Start | None:
    """Where the average starts from. Raises ValueError, in terms of the inputs, for latents or weights that do not
    fit."""
    if start is None:
        return None
    samples = comfyui.samples_of_size(model, start, "start", shape)
    if not samples.any():
        raise ValueError("start is an empty latent: connect encoded pictures or finished samples, or nothing.")
    given = inputs.numbers(weights, "start_weights", "1, 2, 1", float) if weights.strip() else [1.0] * len(samples)
    if len(given) != len(samples):
        raise ValueError(f"start_weights has {len(given)} numbers, but start holds {len(samples)} latents: give one "
                         "number for each, or none.")
    return mean_shift.Start.of(comfyui.latents_into_model(model, samples), step, torch.tensor(given))
