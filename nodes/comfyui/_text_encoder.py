"""A CLIP's side of textual inversion (arXiv 2208.01618): prompts in which trainable vectors stand among the tokens.

ComfyUI's tokenizers put the vectors of `embedding:name` into the list of tokens as tensors, and its text encoders take
any tensor there. So a prompt is tokenised with a file of markers in the place of the embedding, once and by core
itself, and trainable vectors take the markers' places: what is encoded in training is what the finished file gives.
"""
from __future__ import annotations

import contextlib
import copy
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.clip_model
import comfy.sampler_helpers
import comfy.samplers
import comfy.sd1_clip
import folder_paths
import torch
from safetensors.torch import save_file
from torch import Tensor

from ._denoiser import ComfyDenoiser
from ._dynamic_vram import with_weights_that_stay
from ._gradients import checkpointed, differentiable, normal_weights

PLACEHOLDER = "{}"
MARK = 1000.0  # no entry of a token's vector comes near it


@dataclass(frozen=True)
class Row:
    """Stands in a list of tokens for the vector of this number."""

    index: int


@dataclass(frozen=True)
class Prompt:
    """A CLIP and a prompt as its tokenizer gives it, with a Row wherever a trainable vector belongs.

    The encoders are named as in files of embeddings: clip_l, and clip_g for SDXL.
    """

    clip: Any  # comfy.sd.CLIP
    tokens: dict[str, list[list[tuple]]]  # by encoder, of its sections

    def vectors(self, text: str, count: int) -> list[Tensor]:
        """The vectors (count, D) of a text's tokens, by encoder: repeated or cut to that many.

        The text may hold `embedding:other`, whose vectors are as good as those of words. Raises ValueError if it has no
        tokens.
        """
        pieces = self.clip.tokenize(text, return_word_ids=True)
        self.clip.load_model(pieces)
        found = []
        for name, encoder in encoders(self.clip).items():
            tokens = [token for section in pieces[_key(name)] for token, _, word in section if word]
            if not tokens:
                raise ValueError(f"The initial text {text!r} has no tokens: write a word that is close to the mode, "
                                 "such as its concept.")
            device = encoder.transformer.get_input_embeddings().weight.device
            vectors = encoder.process_tokens([tokens], device)[0][0]  # (T, D)
            found.append(vectors[torch.arange(count) % len(vectors)].float().cpu().clone())
        return found

    def encode(self, vectors: list[Tensor]) -> list:
        """The CONDITIONING of the prompt with these vectors (count, D), by encoder, in the places of its Rows."""
        def filled(name: str, values: Tensor) -> list[list[tuple]]:
            return [[(values[token.index] if isinstance(token, Row) else token, *rest) for token, *rest in section]
                    for section in self.tokens[_key(name)]]

        found = {_key(name): filled(name, values) for name, values in zip(encoders(self.clip), vectors)}
        return self.clip.encode_from_tokens_scheduled(found)


def encoded(clip: Any, text: str) -> list:
    """The CONDITIONING of a text, as CLIP Text Encode makes it. Raises ValueError where there is no CLIP."""
    if clip is None:
        raise ValueError("This checkpoint has no CLIP: connect one from Load CLIP.")
    return clip.encode_from_tokens_scheduled(clip.tokenize(text))


def _key(name: str) -> str:
    """A text encoder's name in lists of tokens."""
    return name.removeprefix("clip_")


def encoders(clip: Any) -> dict[str, Any]:
    """The text encoders of a CLIP by name, clip_l before clip_g.

    Raises ValueError if they are not those of SD1.5 or SDXL, whose tokens are all that such a model reads of a prompt.
    """
    names = {name
             for name in vars(clip.tokenizer) if isinstance(getattr(clip.tokenizer, name), comfy.sd1_clip.SDTokenizer)}
    found = {name: getattr(clip.cond_stage_model, name, None) for name in sorted(names, reverse=True)}
    if (list(found) not in (["clip_l"], ["clip_l", "clip_g"])
        or not all(_is_clip(encoder) for encoder in found.values())):
        raise ValueError(f"The text encoder {type(clip.cond_stage_model).__name__} is not that of SD1.5 or SDXL, and "
                         "embeddings can be trained for these alone: connect the CLIP of such a checkpoint, or use "
                         "TrainModeLoRA.")
    return found


def _is_clip(encoder: Any) -> bool:
    return (isinstance(encoder, comfy.sd1_clip.SDClipModel)
            and isinstance(encoder.transformer, comfy.clip_model.CLIPTextModel))


def check_template(template: str) -> None:
    """Raise ValueError unless the template has its placeholder {} once."""
    if (found := template.count(PLACEHOLDER)) != 1:
        raise ValueError(f"The template {template!r} has {found} placeholders {PLACEHOLDER}: write {PLACEHOLDER} once, "
                         "where the vectors belong, as in 'a photo of {}'.")


def prompt_with_vectors(clip: Any, template: str, count: int) -> Prompt:
    """The prompt that the template is with `count` vectors in the place of its placeholder {}.

    Raises ValueError if it does not have exactly one, or has it where core would not read `embedding:name`; also for
    CLIPs that are not of SD1.5 or SDXL, and those that a scheduled LoRA changes.
    """
    check_template(template)
    if clip.patcher.forced_hooks is not None:
        raise ValueError("This CLIP is changed by a scheduled LoRA or another hook: connect the CLIP from before that "
                         "node.")
    clip = clip_with_weights_that_stay(clip)
    marks = {name: _marks(count, encoder) for name, encoder in encoders(clip).items()}
    pieces = _tokenised_with_file(clip, template, marks)
    tokens = {}
    for name, rows in marks.items():
        key = _key(name)
        tokens[key] = [[(_row_or_token(token, rows), *rest) for token, *rest in section] for section in pieces[key]]
        places = [token.index for section in tokens[key] for token, *_ in section if isinstance(token, Row)]
        if places != list(range(count)):
            raise ValueError(f"In the template {template!r} the placeholder would not be read as an embedding: put "
                             f"a space before and after {PLACEHOLDER}.")
    return Prompt(clip, tokens)


def clip_with_weights_that_stay(clip: Any) -> Any:
    """A CLIP on the same weights, or on their static form: dynamic VRAM may rewrite weights before a backward pass."""
    clip = copy.copy(clip)
    clip.patcher = with_weights_that_stay(clip.patcher)
    clip.cond_stage_model = clip.patcher.model
    return clip


def _marks(count: int, encoder: Any) -> Tensor:
    width = encoder.transformer.get_input_embeddings().weight.shape[-1]
    return (MARK + torch.arange(count))[:, None].repeat(1, width)  # (count, D)


def _row_or_token(token: Any, marks: Tensor) -> Any:
    if not isinstance(token, Tensor):
        return token
    found = [index for index, mark in enumerate(marks) if torch.equal(token, mark)]
    return Row(found[0]) if found else token


def _tokenised_with_file(clip: Any, template: str, content: dict[str, Tensor]) -> dict:
    """The template's tokens with an embedding of this content in the place of the placeholder, read by core from a
    file."""
    parent = Path(folder_paths.get_temp_directory())
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="embedding_", dir=parent) as folder:
        name = Path(folder).name  # one that no embedding has
        save_file(content, Path(folder) / f"{name}.safetensors")
        reader, reader.tokenizer = copy.copy(clip), copy.copy(clip.tokenizer)
        for encoder in content:
            tokenizer = copy.copy(getattr(clip.tokenizer, encoder))
            own = tokenizer.embedding_directory or []
            tokenizer.embedding_directory = [folder, *([own] if isinstance(own, str) else own)]
            setattr(reader.tokenizer, encoder, tokenizer)
        return reader.tokenize(spaced(template).replace(PLACEHOLDER, f"embedding:{name}"))


def spaced(template: str) -> str:
    """The template with a space wherever core would take what touches the placeholder for a part of a name.

    Spaces between words and signs change no token.

    >>> spaced("red,{},x"), spaced("({}:1.2), {}")
    ('red, {}, x', '({}:1.2), {}')
    """
    before = re.sub(r"(?<=[^\s(])(?=\{\})", " ", template)
    after = re.sub(r"(?<=\{\})(?=[^\s,:()<\[\\])", " ", before)
    return re.sub(r"(?<=\{\})(,+)(?=[^\s,)])", r"\1 ", after)


def loaded_with_model(prompt: Prompt, conditioning: list) -> list:
    """The CONDITIONING with the prompt's text encoders among the models that core loads and keeps for a sampling with
    it."""
    return [[embedding, {**options, "additional_models": [prompt.clip.patcher]}] for embedding, options in conditioning]


@contextlib.contextmanager
def differentiable_encoding(prompt: Prompt, save_memory: bool = False) -> Iterator[Callable[[list[Tensor]], list]]:
    """Gives `prompt.encode`, differentiable in the vectors, for a CLIP that has been loaded; it is afterwards as it
    was.

    With `save_memory` only the inputs of layers are kept for the backward pass, which then runs each of them once more;
    a CLIP in half precision has its weights in full precision only a layer at a time then. Enter with inference mode
    off.
    """
    clip = copy.copy(prompt.clip)
    # Loading anything now might push the model off the device.
    clip.load_model = lambda tokens={}: clip.patcher
    with contextlib.ExitStack() as stack:
        resident = stack.enter_context(normal_weights([clip.cond_stage_model]))
        if save_memory:
            layers = [layer for encoder in encoders(clip).values()
                      for layer in encoder.transformer.text_model.encoder.layers]
            stack.enter_context(checkpointed(layers, resident))

        def encode(vectors: list[Tensor]) -> list:
            # Layers of CLIP add to their input in place, so what is saved for the backward pass has to be copied.
            with differentiable(resident):
                return Prompt(clip, prompt.tokens).encode(vectors)

        yield encode


def set_positive(denoiser: ComfyDenoiser, conditioning: list, shape: tuple[int, ...]) -> None:
    """From now on the Denoiser predicts latents (C, H, W) under this CONDITIONING, made ready as core does it for a
    KSampler.

    That includes what a model derives from it: SDXL's pooled text and sizes. Gradients pass through.
    """
    guider = denoiser.guider
    noise = torch.zeros((1, *shape), device=denoiser.device)
    entries = {"positive": comfy.sampler_helpers.convert_cond(conditioning)}
    guider.conds.update(comfy.samplers.process_conds(guider.inner_model, noise, entries, denoiser.device, noise))


def check_fits(model: Any, conditioning: list) -> None:
    """Raise ValueError if the MODEL reads prompts of another width."""
    width, expected = conditioning[0][0].shape[-1], model.model.model_config.unet_config.get("context_dim")
    if expected not in (None, width):
        raise ValueError(f"This CLIP gives {width} numbers per token, but the model reads {expected}: connect the CLIP "
                         "of the same checkpoint.")
