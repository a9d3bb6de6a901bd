"""TrainModeEmbedding: textual inversion (arXiv 2208.01618), words that the loaded models learn for one mode of a
concept."""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ...dma import execution, models, training
from ...dma.training import TrainingSettings
from .. import comfyui, inputs
from ..comfyui import (
    ENDING,
    ProgressReporter,
    check_readable,
    checkpoints,
    embedding_path,
    is_from,
    is_readable_embedding,
    name_is_taken,
    plain_name,
    write_embedding,
)
from ..inputs import (
    PREVIEW_STEPS,
    check_training_latents,
    checked,
    learning_rate_of_training,
    mode_latents,
    previewing,
    saved_training,
    training_batch_size,
    training_records,
    training_steps,
)

NODE = "TrainModeEmbedding"
MOST_VECTORS = 16


class TrainModeEmbedding(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id=NODE, display_name="Train Mode Embedding", category=inputs.category("modes"), is_output_node=True,
            description="Trains words of its own for one mode (textual inversion) and saves them as an embedding that "
                        "prompts can use.",
            search_aliases=["textual inversion", "embedding", "train", "mode", "cluster", "TI"],
            inputs=[
                io.Model.Input("model", tooltip="The model to train on, of SD1.5 or SDXL. It stays as it is."),
                io.Clip.Input("clip", tooltip="The CLIP of the same checkpoint. It stays as it is."),
                mode_latents(),
                io.String.Input("name", default="mode",
                                tooltip="What the embedding is called: the file NAME.safetensors in models/embeddings, "
                                        "embedding:NAME in a prompt. Sub-folders with /. A name that is taken is "
                                        "refused."),
                io.String.Input("initial_text", default="",
                                tooltip="Where the vectors start: at the tokens of this text, which are repeated or "
                                        "cut. The concept's own word is a good choice."),
                io.Int.Input("vectors", default=1, min=1, max=MOST_VECTORS,
                             tooltip="How many vectors are trained. Each takes the room of one token in a prompt. More "
                                     "can say more."),
                io.String.Input("template", default="{}",
                                tooltip="The prompt that is trained on; {} is where the vectors stand, for example 'a "
                                        "photo of {}'."),
                training_steps(3000),
                learning_rate_of_training(1e-2),
                inputs.seed("Fixes everything random: the order of the latents, noise and noise levels."),
                training_batch_size(),
                io.Boolean.Input("gradient_checkpointing", default=False, optional=True, advanced=True,
                                 tooltip="Compute each block of the model and of the CLIP a second time instead of "
                                         "keeping what is inside it: slower, with much less memory."),
                io.Int.Input("preview_interval", default=200, min=0, max=100000, optional=True, advanced=True,
                             tooltip=f"Show a sample of the template ({PREVIEW_STEPS} steps, no guidance) every so "
                                     "many training steps. 0: never."),
                inputs.resume(),
                io.Boolean.Input("overwrite", default=False, optional=True, advanced=True,
                                 tooltip="Replace an embedding of the same name instead of refusing to start."),
            ],
            outputs=[
                io.String.Output("text", display_name="text",
                                 tooltip="embedding:NAME, to be put into prompts; connecting it makes them wait for "
                                         "the training."),
                io.Conditioning.Output("conditioning", display_name="conditioning",
                                       tooltip="The template with the trained vectors: the same as CLIP Text Encode "
                                               "makes of it."),
                *training_records(),
            ],
            hidden=[io.Hidden.dynprompt, io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, name=None, initial_text=None, template=None) -> bool | str:
        # What is linked is None here. Whether the name is taken is seen when the node runs: its file may be its own.
        try:
            if name is not None:
                embedding_path(plain_name(name))
            if initial_text is not None:
                check_initial_text(initial_text)
            if template is not None:
                comfyui.check_template(template)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    @checked()
    def execute(cls, model, clip, latents, name, initial_text, vectors, template, steps, learning_rate, seed,
                batch_size=1, gradient_checkpointing=False, preview_interval=200, resume=True,
                overwrite=False) -> io.NodeOutput:
        settings = TrainingSettings(steps, learning_rate, batch_size, seed)
        task = prepare(model, clip, latents, name, initial_text, vectors, template, settings, resume, overwrite,
                       unfolded_from(cls.hidden))
        comfyui.check_model(model)
        prompt, shape, clean, vectors_now = task.prompt, task.shape, task.clean, task.vectors
        reporter = ProgressReporter(model, NODE)

        def run(denoiser: comfyui.ComfyDenoiser) -> training.Training:
            levels = denoiser.noise_levels()
            saved = saved_training(task.key, denoiser, levels, shape) if resume else None
            if task.is_taken and not is_finished(saved, steps):
                raise name_is_taken(task.name, task.path)
            loss_now = training.loss_on(clean, denoiser.parametrization, denoiser.device,
                                        denoiser.denoise_differentiably)
            interval = preview_interval if reporter.shows_previews else 0
            sample = previewing(model, denoiser, shape, seed, interval)
            with comfyui.differentiable_encoding(prompt, gradient_checkpointing) as encode:
                def loss(rows: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
                    comfyui.set_positive(denoiser, encode(vectors_now), shape)
                    return loss_now(rows, noise, sigma)

                def preview(done: int) -> Tensor | None:
                    if interval and done % interval == 0:
                        comfyui.set_positive(denoiser, encode(vectors_now), shape)
                    return sample(done)

                def draws(step: int) -> training.Draw:
                    return training.draw(settings, step, len(clean), shape, levels)

                for values in vectors_now:
                    values.requires_grad_()
                with comfyui.advising_on_gradients():
                    models.check_differentiable(lambda: loss(torch.tensor([0]), torch.zeros(1, *shape), levels[:1]),
                                                vectors_now, "no embedding can be trained on it")
                place = training.state_for(saved, steps) if saved else None
                monitor = training.TrainingMonitor(reporter, settings, preview=preview)
                return training.train(
                    vectors_now, loss, draws, settings, watchers=[*checkpoints(place), monitor],
                    state=comfyui.resumed(
                        NODE, lambda *found: training.TrainingState.unpacked(*found, vectors_now, settings), place))

        sigmas = comfyui.sigmas_of(model, "normal", PREVIEW_STEPS)
        trained = comfyui.with_denoiser(model, comfyui.loaded_with_model(prompt, task.start), task.start, 1.0,
                                        sigmas, shape, seed, run, layer=None, save_memory=gradient_checkpointing,
                                        at_once=inputs.rows_of_a_pass(batch_size, shape))
        report = dataclasses.replace(trained.report, settings={
            **trained.report.settings, **task.choices, "name": task.name, "latents": len(clean)})
        content = dict(zip(comfyui.encoders(prompt.clip), trained.parameters))
        write_embedding(task.name, task.path, content, report.settings, overwrite, task.origin)
        with torch.inference_mode(False), torch.no_grad():
            conditioning = prompt.encode(trained.parameters)
        return io.NodeOutput(f"embedding:{task.name}", conditioning, {"loss": trained.report.losses}, report,
                             ui=ui.PreviewText(f"Saved {task.name}{ENDING}"))


@dataclass(frozen=True)
class Prepared:
    """What is known of a training before it begins, all of it found to make sense."""

    name: str
    path: Path
    shape: tuple[int, ...]
    clean: Tensor  # (N, C, H, W)
    prompt: comfyui.Prompt
    vectors: list[Tensor]  # (count, D) by encoder, those to start with
    start: list  # the CONDITIONING with them
    choices: dict[str, Any]
    key: str
    origin: str  # empty, or what a file has to come from to be replaced without being asked
    is_taken: bool  # by a file that may be of this very training


def prepare(model: Any, clip: Any, latents: dict, name: str, initial_text: str, vectors: int, template: str,
            settings: TrainingSettings, resume: bool = True, overwrite: bool = False,
            owner: str = "") -> Prepared:
    """Everything that a training needs but a sound MODEL. Raises ValueError where it could not begin or end in a file.

    A file that this very training wrote is no obstacle: the same graph may be queued again. `owner` is the node of the
    user's graph that has unfolded into this training, if one has; a file that the same one wrote, for the same latents
    and texts under other numbers, is its own and replaced.
    """
    settings.check()
    name = plain_name(name)
    path = embedding_path(name)
    check_readable(name, path)
    if not 1 <= vectors <= MOST_VECTORS:
        raise ValueError(f"vectors is {vectors}: choose a number from 1 to {MOST_VECTORS}.")
    check_initial_text(initial_text)
    shape = comfyui.latent_shape(model, latents)
    check_training_latents(latents["samples"])
    clean = comfyui.latents_into_model(model, comfyui.samples_of(model, latents))  # (N, C, H, W)
    prompt = comfyui.prompt_with_vectors(clip, template, vectors)
    with torch.inference_mode(False), torch.no_grad():
        first = prompt.vectors(initial_text, vectors)
        start = prompt.encode(first)
    comfyui.check_conditioning(start, "positive")
    comfyui.check_fits(model, start)
    texts = {"node": NODE, "template": template, "initial_text": initial_text}
    choices = {**texts, "vectors": vectors}
    key = comfyui.run_key(model, training.ALGORITHM, {**settings.key(), **choices}, {"positive": start},
                          {"latents": clean})
    # The first vector is the same for any number of them, and tells one CLIP from another.
    source = {"latents": clean, **{str(place): values[:1] for place, values in enumerate(first)}}
    origin = execution.run_key({**texts, "owner": owner}, source) if owner else ""
    is_taken = path.exists() and not overwrite and not is_from(path, origin)
    if is_taken and not (resume and execution.saved_states(comfyui.run_state_folder(), key)
                         and is_readable_embedding(path)):
        raise name_is_taken(name, path)
    return Prepared(name, path, shape, clean, prompt, first, start, choices, key, origin, is_taken)


def unfolded_from(hidden: Any) -> str:
    """The node of the user's graph that has unfolded into the one with these hidden inputs; empty if it stands there
    itself."""
    if hidden is None or hidden.dynprompt is None:
        return ""
    node = hidden.dynprompt.get_real_node_id(hidden.unique_id)
    return "" if node == hidden.unique_id else node


def check_initial_text(text: str) -> None:
    if not text.strip():
        raise ValueError("The initial text is empty: write a word that is close to the mode, such as its concept.")


def is_finished(saved: execution.RunState | None, steps: int) -> bool:
    """Whether this training has been done before, all of it."""
    found = training.state_for(saved, steps).load() if saved else None
    return found is not None and len(found[1]["losses"]) == steps
