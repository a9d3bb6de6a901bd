"""TrainModeLoRA: a low-rank adapter that turns the loaded model towards one mode of a concept."""
from __future__ import annotations

import dataclasses

import torch
from comfy_api.latest import io

from ...dma import models, training
from .. import comfyui, inputs
from ..comfyui import ProgressReporter, checkpoints
from ..inputs import (
    PREVIEW_STEPS,
    check_training_latents,
    checked,
    learning_rate_of_training,
    lora_target,
    mode_latents,
    previewing,
    saved_training,
    training_batch_size,
    training_records,
    training_steps,
)

PRECISIONS = {"as loaded": None, "float32": torch.float32, "bfloat16": torch.bfloat16}
NODE = "TrainModeLoRA"


class TrainModeLoRA(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id=NODE, display_name="Train Mode LoRA", category=inputs.category("modes"),
            description="Trains a LoRA on the latents of one mode, so that the prompt makes pictures of this mode.",
            search_aliases=["train lora", "adapter", "fine-tune", "mode", "cluster"],
            inputs=[
                io.Model.Input("model", tooltip="The model to train on. It stays as it is."),
                mode_latents(),
                io.Conditioning.Input(
                    "positive", tooltip="The prompt that is to make pictures of this mode: the prompt of the samples."),
                training_steps(2000),
                learning_rate_of_training(1e-4),
                io.Int.Input("rank", default=1, min=1, max=1024,
                             tooltip="Rank of the change of each layer. 1 is the paper's choice."),
                inputs.seed("Fixes everything random: the adapter's start, the order of the latents, noise and noise "
                            "levels."),
                io.Float.Input("alpha", default=1.0, min=0.001, max=1024.0, step=0.001, round=False, optional=True,
                               advanced=True,
                               tooltip="The change of a layer is scaled by alpha / rank. Set it to the rank for a "
                                       "factor of 1."),
                lora_target(advanced=True),
                training_batch_size(),
                io.Combo.Input("precision", options=list(PRECISIONS), default="as loaded", optional=True, advanced=True,
                               tooltip="In which precision the model computes while it is trained on. The adapter "
                                       "itself is always trained in float32."),
                io.Boolean.Input("gradient_checkpointing", default=False, optional=True, advanced=True,
                                 tooltip="Compute each block a second time instead of keeping what is inside it: "
                                         "slower, with less memory. The result is the same up to rounding."),
                io.Int.Input("preview_interval", default=200, min=0, max=100000, optional=True, advanced=True,
                             tooltip=f"Show a sample ({PREVIEW_STEPS} steps, no guidance) every so many training "
                                     "steps. 0: never."),
                inputs.resume(),
            ],
            outputs=[
                io.LoraModel.Output("lora", display_name="lora",
                                    tooltip="The adapter, for Save LoRA Weights and Load LoRA Model."),
                io.Model.Output("adapted", display_name="model", tooltip="The model with the adapter at strength 1."),
                *training_records(),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, model, latents, positive, steps, learning_rate, rank, seed, alpha=1.0,
                target=comfyui.ATTENTION, batch_size=1, precision="as loaded", gradient_checkpointing=False,
                preview_interval=200, resume=True) -> io.NodeOutput:
        settings = training.TrainingSettings(steps, learning_rate, batch_size, seed)
        settings.check()
        if alpha <= 0:
            raise ValueError(f"alpha is {alpha}: it must be a positive number, 1 or the rank as a rule.")
        comfyui.check_conditioning(positive, "positive")
        shape = comfyui.latent_shape(model, latents)
        check_training_latents(latents["samples"])
        comfyui.check_model(model)
        layers = comfyui.target_layers(comfyui.network_of(model), target)
        comfyui.check_rank(layers, rank)
        clean = comfyui.latents_into_model(model, comfyui.samples_of(model, latents))  # (N, C, H, W)
        choices = {"node": NODE, "rank": rank, "alpha": alpha, "target": target, "precision": precision}
        key = comfyui.run_key(model, training.ALGORITHM, {**settings.key(), **choices}, {"positive": positive},
                              {"latents": clean})
        reporter = ProgressReporter(model, NODE)

        def run(denoiser: comfyui.ComfyDenoiser) -> training.Training:
            network, levels = denoiser.guider.inner_model.diffusion_model, denoiser.noise_levels()
            # Noise levels are drawn from all of the schedule.
            comfyui.check_active(model, positive, "positive", levels.tolist())
            saved = saved_training(key, denoiser, levels, shape) if resume else None
            # Not the layers from above: a model in dynamic VRAM is trained on in another form, which has its own.
            own = comfyui.target_layers(network, target)
            adapters = training.new_adapters(own, rank, alpha, seed=seed, device=denoiser.device)
            with comfyui.attached(network, adapters, gradient_checkpointing):
                with comfyui.advising_on_gradients():
                    models.check_differentiable(
                        lambda: denoiser.denoise_differentiably(clean[:1].clone().to(denoiser.device),
                                                                levels[:1].to(denoiser.device)),
                        training.parameters_of(adapters), "no LoRA can be trained on it")
                place = training.state_for(saved, steps) if saved else None
                parameters = training.parameters_of(adapters)
                interval = preview_interval if reporter.shows_previews else 0
                monitor = training.TrainingMonitor(
                    reporter, settings, preview=previewing(model, denoiser, shape, seed, interval))
                return training.train(
                    parameters,
                    training.loss_on(clean, denoiser.parametrization, denoiser.device, denoiser.denoise_differentiably),
                    lambda step: training.draw(settings, step, len(clean), shape, levels), settings,
                    watchers=[*checkpoints(place), monitor],
                    state=comfyui.resumed(
                        NODE, lambda *found: training.TrainingState.unpacked(*found, parameters, settings), place))

        trained_on = model
        if PRECISIONS[precision] is not None:
            trained_on = model.clone()
            trained_on.set_model_compute_dtype(PRECISIONS[precision])
        sigmas = comfyui.sigmas_of(model, "normal", PREVIEW_STEPS)
        trained = comfyui.with_denoiser(trained_on, positive, positive, 1.0, sigmas, shape, seed, run, layer=None,
                                        at_once=inputs.rows_of_a_pass(batch_size, shape))
        lora = comfyui.lora_model(list(layers), trained.parameters, alpha)
        report = dataclasses.replace(trained.report, settings={
            **trained.report.settings, **choices, "latents": len(clean), "layers": len(layers),
            "parameters": sum(parameter.numel() for parameter in trained.parameters)})
        return io.NodeOutput(lora, comfyui.with_lora(model, lora), {"loss": trained.report.losses}, report)
