"""TrainModeEmbedding: textual inversion (arXiv 2208.01618), words that the loaded models learn for one mode of a concept."""
from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from comfy_api.latest import io, ui
import comfy.cli_args
import folder_paths

from ..dma import denoising_training, runs
from . import comfy_model, comfy_text, common_inputs, files
from .progress import ProgressReporter
from .training import PREVIEW_STEPS, check_latents, fingerprint, previewing, training_batch_size, training_records

NODE = "TrainModeEmbedding"
FORMAT = "mental-averages/embedding-1"
ENDING = ".safetensors"
MOST_VECTORS = 16
# What stays one word of a prompt: no spaces, commas, brackets or colons; no part begins or ends with a dot.
NAME = re.compile(r"[\w-]([\w.-]*[\w-])?(/[\w-]([\w.-]*[\w-])?)*")


class TrainModeEmbedding(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id=NODE, display_name="Train Mode Embedding", category="dma/modes", is_output_node=True,
            description="Trains words of its own for one mode (textual inversion) and saves them as an embedding that prompts can use.",
            search_aliases=["textual inversion", "embedding", "train", "mode", "cluster", "TI"],
            inputs=[
                io.Model.Input("model", tooltip="The model to train on, of SD1.5 or SDXL. It stays as it is."),
                io.Clip.Input("clip", tooltip="The CLIP of the same checkpoint. It stays as it is."),
                io.Latent.Input("latents", tooltip="The latents of one mode, such as those that SelectMode picks out of the samples. Pictures have to be encoded by the model's own VAE."),
                io.String.Input("name", default="mode", tooltip="What the embedding is called: the file NAME.safetensors in models/embeddings, embedding:NAME in a prompt. Sub-folders with /. A name that is taken is refused."),
                io.String.Input("initial_text", default="", tooltip="Where the vectors start: at the tokens of this text, which are repeated or cut. The concept's own word is a good choice."),
                io.Int.Input("vectors", default=1, min=1, max=MOST_VECTORS, tooltip="How many vectors are trained. Each takes the room of one token in a prompt. More can say more."),
                io.String.Input("template", default="{}", tooltip="The prompt that is trained on; {} is where the vectors stand, for example 'a photo of {}'."),
                io.Int.Input("steps", default=3000, min=1, max=100000, tooltip="Training steps. When this is raised, the training goes on from where it ended."),
                io.Float.Input("learning_rate", default=1e-2, min=1e-7, max=1.0, step=1e-7, round=False, tooltip="AdamW's learning rate."),
                io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True,
                             tooltip="Fixes everything random: the order of the latents, noise and noise levels."),
                training_batch_size(),
                io.Boolean.Input("gradient_checkpointing", default=False, optional=True, advanced=True,
                                 tooltip="Compute each block of the model and of the CLIP a second time instead of keeping what is inside it: slower, with much less memory."),
                io.Int.Input("preview_interval", default=200, min=0, max=100000, optional=True, advanced=True,
                             tooltip=f"Show a sample of the template ({PREVIEW_STEPS} steps, no guidance) every so many training steps. 0: never."),
                common_inputs.resume(),
                io.Boolean.Input("overwrite", default=False, optional=True, advanced=True,
                                 tooltip="Replace an embedding of the same name instead of refusing to start."),
            ],
            outputs=[
                io.String.Output("text", display_name="text", tooltip="embedding:NAME, to be put into prompts; connecting it makes them wait for the training."),
                io.Conditioning.Output("conditioning", display_name="conditioning", tooltip="The template with the trained vectors: the same as CLIP Text Encode makes of it."),
                *training_records(),
            ],
        )

    @classmethod
    def execute(cls, model, clip, latents, name, initial_text, vectors, template, steps, learning_rate, seed, batch_size=1,
                gradient_checkpointing=False, preview_interval=200, resume=True, overwrite=False) -> io.NodeOutput:
        settings = denoising_training.TrainingSettings(steps, learning_rate, batch_size, seed)
        settings.check()
        name = name.strip().removesuffix(ENDING)
        path = embedding_path(name)
        # A file that was written by this very training is no obstacle: the same graph may be queued again.
        is_taken = check_name(name, path, may_exist=overwrite or resume) and not overwrite
        if not 1 <= vectors <= MOST_VECTORS:
            raise ValueError(f"vectors is {vectors}: choose a number from 1 to {MOST_VECTORS}.")
        if not initial_text.strip():
            raise ValueError("The initial text is empty: write a word that is close to the mode, such as its concept.")
        shape = comfy_model.latent_shape(model, latents)
        check_latents(latents["samples"])
        comfy_model.check_model(model)
        clean = comfy_model.latents_into_model(model, latents["samples"])  # (N, C, H, W)
        prompt = comfy_text.prompt_with_vectors(clip, template, vectors)
        with torch.inference_mode(False), torch.no_grad():
            trained = prompt.vectors(initial_text, vectors)
            start = prompt.encode(trained)
        comfy_model.check_conditioning(start, "positive")
        comfy_text.check_fits(model, start)
        choices = {"node": NODE, "template": template, "initial_text": initial_text, "vectors": vectors}
        key = runs.run_key({**settings.key(), **choices}, {"latents": clean, **comfy_model.conditioning_tensors(start, [])})
        if is_taken and not runs.RunState(files.run_state_folder(), key, torch.empty(0)).path.exists():
            raise name_is_taken(name, path)
        reporter = ProgressReporter(model, NODE)

        def train(denoiser: comfy_model.ComfyDenoiser) -> denoising_training.Training:
            levels = denoiser.noise_levels()
            saved = files.run_state(key, fingerprint(denoiser, levels, shape)) if resume else None
            if is_taken and not is_finished(saved, steps):
                raise name_is_taken(name, path)
            loss_now = denoising_training.loss_on(clean, denoiser.parametrization, denoiser.device,
                                                  denoiser.denoise_differentiably)
            sample = previewing(model, denoiser, shape, seed, preview_interval)
            with comfy_text.differentiable_encoding(prompt, gradient_checkpointing) as encode:
                def loss(rows: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
                    comfy_text.set_positive(denoiser, encode(trained), shape)
                    return loss_now(rows, noise, sigma)

                def preview(done: int) -> Tensor | None:
                    if preview_interval and done % preview_interval == 0:
                        comfy_text.set_positive(denoiser, encode(trained), shape)
                    return sample(done)

                def draws(step: int) -> denoising_training.Draw:
                    return denoising_training.draw(settings, step, len(clean), shape, levels)

                for values in trained:
                    values.requires_grad_()
                return denoising_training.train(trained, loss, draws, settings, saved, reporter, preview)

        sigmas = comfy_model.sigmas_of(model, "normal", PREVIEW_STEPS)
        training = comfy_model.with_denoiser(model, comfy_text.loaded_with_model(prompt, start), start, 1.0, sigmas, shape, seed,
                                             train, layer=None, save_memory=gradient_checkpointing)
        report = dataclasses.replace(training.report, settings={
            **training.report.settings, **choices, "name": name, "latents": len(clean)})
        content = dict(zip(comfy_text.encoders(prompt.clip), training.parameters))
        write_embedding(name, path, content, report.settings, overwrite)
        with torch.inference_mode(False), torch.no_grad():
            conditioning = prompt.encode(training.parameters)
        return io.NodeOutput(f"embedding:{name}", conditioning, {"loss": training.report.losses}, report,
                             ui=ui.PreviewText(f"Saved {name}{ENDING}"))


def embedding_path(name: str) -> Path:
    """The file of an embedding in the first of ComfyUI's folders of embeddings.

    Raises ValueError if the name would leave that folder, could not be read in a prompt, or cannot be written.
    """
    root = Path(folder_paths.get_folder_paths("embeddings")[0]).resolve()
    path = (root / f"{name}{ENDING}").resolve()
    if not NAME.fullmatch(name) or not path.is_relative_to(root):
        raise ValueError(f"{name!r} cannot be the name of an embedding inside {root.name}: use letters, digits, _, - and single "
                         "dots, and / for sub-folders, such as castle/mode_1.")
    folder = next(parent for parent in path.parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"The embedding {name!r} cannot be written, because {folder} is not a folder that can be written to.")
    return path


def check_name(name: str, path: Path, may_exist: bool) -> bool:
    """Whether the file exists. Raises ValueError if it may not, or if `embedding:name` could be read from another file."""
    others = [found for found in comfy_text.embeddings_named(name) if found != path]
    if others:
        raise ValueError(f"embedding:{name} is read from {others[0]} already: choose another name.")
    if path.exists() and not may_exist:
        raise name_is_taken(name, path)
    return path.exists()


def name_is_taken(name: str, path: Path) -> ValueError:
    return ValueError(f"There is an embedding {name!r} already ({path}): choose another name, or set overwrite.")


def is_finished(saved: runs.RunState | None, steps: int) -> bool:
    """Whether this training has been done before, all of it."""
    found = saved.load() if saved else None
    return found is not None and len(found[1]["losses"]) == steps


def write_embedding(name: str, path: Path, content: dict[str, Tensor], settings: dict[str, Any], overwrite: bool) -> None:
    """Write a file that `embedding:name` reads, whole or not at all. One with the same vectors is left as it is.

    Raises ValueError if there is another in its place by now, and where it cannot be written.
    """
    from safetensors.torch import load_file, save_file

    if path.exists() and not overwrite:
        present = load_file(path)
        if present.keys() == content.keys() and all(torch.equal(present[encoder], content[encoder]) for encoder in content):
            return
        raise name_is_taken(name, path)
    header = {} if comfy.cli_args.args.disable_metadata else {"format": FORMAT, "settings": json.dumps(settings)}
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({encoder: values.contiguous() for encoder, values in content.items()}, temporary, metadata=header)
        os.replace(temporary, path)
    except Exception as error:  # safetensors reports a full disk by an exception type of its own
        raise ValueError(f"The embedding could not be written to {path} ({error}). Make room and queue the graph again: with "
                         "resume on, nothing is trained twice.") from error
    finally:
        temporary.unlink(missing_ok=True)
