"""Train the demo CLIP on the demo set's pictures and names, and measure retrieval on held-out pictures.

    python demo/train_clip.py --data DATA --run FOLDER [--steps 3000] [--evaluate]

DATA is the folder of the icon sets, or an archive of it (dataset.py). Goes on from its last saved state when started
again, or with --deadline ends at a time of the clock, as demo/train.py does; a step's pictures, captions and shifts
depend only on the seed, the step's number and the kind of device. Runs on a GPU if there is one, else on the CPU, in
bfloat16. Whenever it saves its state it evaluates what 8-bit storage leaves of the averaged weights, and packs them
into RUN/clip_weights.safetensors: copy that file to demo/.
"""
from __future__ import annotations

import argparse
import copy
import functools
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

import clip_model
import training
import weights
from dataset import CAPTION_LAWS, Picture, training_captions
from kinds import KINDS
from optimise import begins_anew, check_state, optimise
from training import Data

TONE = re.compile(r"\b(medium light|medium dark|light|medium|dark) skin tone")
TONES = ("light", "medium light", "medium", "medium dark", "dark")
TONE_PROMPTS = [f"person {tone} skin tone" for tone in TONES]
KIND_PROMPTS = list(KINDS.values())
MOST_SHIFT = 4  # pixels
CAPTIONS = 16  # of a picture
SAVE_EVERY = 100  # steps
HIGHEST_SCALE = 100.0
AUTOCAST = torch.bfloat16


def captions_for(pictures: list[Picture]) -> list[list[str]]:
    """Captions of each picture as in the denoiser's training, but never an empty one: nothing can be told from it."""
    drawn = training_captions(pictures, CAPTION_LAWS["mixed"], CAPTIONS)
    return [[caption or picture.caption for caption in row] for picture, row in zip(pictures, drawn)]


def caption_table(pictures: list[Picture], tokenizer) -> tuple[torch.Tensor, torch.Tensor]:
    """The number (N, captions) of each caption among the different ones, and the token ids (U, L) of these."""
    drawn = captions_for(pictures)
    numbers = {caption: number for number, caption in enumerate(dict.fromkeys(
        caption for row in drawn for caption in row))}
    return (torch.tensor([[numbers[caption] for caption in row] for row in drawn]),
            token_ids(tokenizer, list(numbers)))


def token_ids(tokenizer, texts: list[str]) -> torch.Tensor:
    """(N, L), padded to the longest, which has at most clip_model.LENGTH."""
    return tokenizer(texts, padding=True, truncation=True, max_length=clip_model.LENGTH,
                     return_tensors="pt")["input_ids"]


@functools.lru_cache(maxsize=2)
def _mean_and_deviation(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Kept on the device, which would have to wait if they came anew with every step."""
    return torch.tensor(clip_model.MEAN, device=device), torch.tensor(clip_model.DEVIATION, device=device)


def normalised(images: torch.Tensor) -> torch.Tensor:
    """uint8 pictures (B, H, W, 3) as the processor of the folder gives them to the network: (B, 3, H, W)."""
    mean, deviation = _mean_and_deviation(images.device)
    return ((images.float() / 255 - mean) / deviation).permute(0, 3, 1, 2)


def shifted(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each uint8 picture (B, H, W, 3) moved by up to four pixels over white, so that places on the paper do not
    matter."""
    (count, height, width, _), device = images.shape, images.device
    padded = F.pad(images, (0, 0, *(MOST_SHIFT,) * 4), value=255)
    corners = torch.randint(2 * MOST_SHIFT + 1, (2, count, 1), generator=generator, device=device)
    rows = corners[0] + torch.arange(height, device=device)  # (B, H)
    columns = corners[1] + torch.arange(width, device=device)  # (B, W)
    return padded[torch.arange(count, device=device)[:, None, None], rows[:, :, None], columns[:, None]]


def contrastive_loss(pictures: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor,
                     captions: torch.Tensor) -> torch.Tensor:
    """Cross entropy of picture against text and text against picture, over unit vectors (B, D).

    Pictures with the very same caption, by its number (B,), share it: each of them is a right answer.
    """
    target = (captions[:, None] == captions[None]).float()
    target = target / target.sum(1, keepdim=True)  # (B, B), symmetric
    logits = scale * pictures @ texts.T
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def encode_pictures(model, pixels: torch.Tensor) -> torch.Tensor:
    return F.normalize(model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output).float(), dim=1)


def encode_texts(model, ids: torch.Tensor) -> torch.Tensor:
    """Unit vectors (N, D) of token ids (N, L). Needs no mask: no token sees the padding behind its text."""
    return F.normalize(model.text_projection(model.text_model(input_ids=ids).pooler_output).float(), dim=1)


def label_loss(seen: torch.Tensor, prompts: torch.Tensor, scale: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy of the labels of pictures (B, D) against a prompt for each (P, D), over the pictures that have one;
    labels (B,) are numbers of prompts, and -1 of pictures without."""
    total = F.cross_entropy(scale * seen @ prompts.T, labels, ignore_index=-1, reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1)


def tone_of(picture: Picture) -> int:
    """The number in TONES of the one skin tone that a caption names, else -1."""
    found = TONE.findall(picture.caption)
    return TONES.index(found[0]) if len(found) == 1 else -1


def kind_of(picture: Picture) -> int:
    """The number in KIND_PROMPTS of the picture's kind, else -1."""
    return KIND_PROMPTS.index(picture.kind) if picture.kind else -1


# What is told by prompts: its name in figures, the option of its weight, its prompts, and which of them a picture
# belongs to.
LABELS: tuple[tuple[str, str, list[str], Callable[[Picture], int]], ...] = (
    ("skin_tone", "tones", TONE_PROMPTS, tone_of), ("kind", "kinds", KIND_PROMPTS, kind_of))


def train(model, tokenizer, data: Data, arguments: argparse.Namespace, after_save: Callable[[int], None],
          averaged: torch.nn.Module, **tied: str) -> None:
    """Train `model` and its average as demo/train.py trains the others; the state is RUN/clip.pt."""
    numbers, ids = (table.to(data.device) for table in caption_table(data.pictures, tokenizer))
    told = {option: (weight, token_ids(tokenizer, prompts).to(data.device),
             torch.tensor([label_of(picture) for picture in data.pictures], device=data.device))
            for _, option, prompts, label_of in LABELS if (weight := getattr(arguments, option))}
    for option, (_, _, labels) in told.items():
        if not (labels >= 0).any():
            raise SystemExit(f"None of the pictures says what --{option} asks for: leave it out, or, with an archive "
                             "of before, make that again with demo/dataset.py --archive.")
    model.train()

    def loss_at_step(step: int, part: int) -> torch.Tensor:
        generator = data.generator(arguments.seed, step, part)
        rows = data.draw(arguments.batch, generator)  # (B,)
        captions = training.draw_variants(numbers, rows, generator)  # (B,)
        pixels = normalised(shifted(data.images[rows], generator))
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(HIGHEST_SCALE))
        scale = model.logit_scale.exp()
        with torch.autocast(data.device.type, AUTOCAST):
            seen, read = encode_pictures(model, pixels), encode_texts(model, ids[captions])
            asked = [encode_texts(model, prompts) for _, prompts, _ in told.values()]
        loss = contrastive_loss(seen, read, scale, captions)
        for (weight, _, labels), prompts in zip(told.values(), asked):
            loss = loss + weight * label_loss(seen, prompts, scale, labels[rows])
        return loss

    optimise(model, averaged, arguments.peak, training.budget_of(arguments), arguments.run / "clip.pt", loss_at_step,
             after_save, save_every=SAVE_EVERY, final_batches=arguments.final_batches, weight_decay=0.1,
             decay_all=False, **tied)


@torch.no_grad()
def evaluate(model, tokenizer, pictures: list[Picture], images: torch.Tensor) -> dict[str, float]:
    """Retrieval among held-out pictures (N, H, W, 3) and their captions, and skin tone and kind by prompts.

    Image to text: the share of pictures whose own caption is the nearest (or among the five nearest) of all different
    captions, drawing style left out. Text to image: the share of captions whose nearest picture bears them. Concept:
    the nearest of all different concepts. Skin tone: the nearest of five prompts, where a caption names one tone; kind:
    of four.
    """
    model.eval()
    device = images.device
    seen = torch.cat([encode_pictures(model, normalised(chunk)) for chunk in images.split(256)])

    def read(texts: list[str]) -> torch.Tensor:
        return torch.cat([encode_texts(model, chunk) for chunk in token_ids(tokenizer, texts).to(device).split(256)])

    figures = {"held_out_pictures": len(pictures)}
    for name in ("caption", "concept"):
        labels = [getattr(picture, name) for picture in pictures]
        names = sorted(set(labels))
        truth = torch.tensor([names.index(label) for label in labels], device=device)
        similarity = seen @ read(names).T  # (N, C)
        best = similarity.topk(min(5, len(names)), dim=1).indices  # (N, 5)
        figures |= {f"{name}_candidates": len(names),
                    f"image_to_{name}_top1": float((best[:, 0] == truth).float().mean()),
                    f"image_to_{name}_top5": float((best == truth[:, None]).any(1).float().mean()),
                    f"{name}_to_image_top1": float(
                        (truth[similarity.argmax(0)].cpu() == torch.arange(len(names))).float().mean())}
    for name, _, prompts, label_of in LABELS:
        labels = [label_of(picture) for picture in pictures]
        rows = [row for row, label in enumerate(labels) if label >= 0]
        if rows:
            guesses, truth = (seen[rows] @ read(prompts).T).argmax(1).tolist(), [labels[row] for row in rows]
            figures |= {f"{name}_pictures": len(rows),
                        f"{name}_top1": sum(guess == right for guess, right in zip(guesses, truth)) / len(rows),
                        f"{name}_most_common": Counter(truth).most_common(1)[0][1] / len(rows)}
    return {name: round(value, 4) for name, value in figures.items()}


def evaluate_stored(data: Data) -> None:
    """Print what the weights in demo/ are worth."""
    state, merges = clip_model.unpack()
    weights.check_split(clip_model.PATH.name, clip_model.split(), data.split)
    tokenizer = clip_model.make_tokenizer(merges)
    model = clip_model.build(tokenizer)
    model.load_state_dict(state)
    print(json.dumps(evaluate(model.to(data.device), tokenizer, data.held_out_pictures, data.held_out), indent=1),
          flush=True)


def kept_merges(run: Path, data: Data, by_clock: bool) -> list[tuple[str, str]]:
    """The byte pairs of the captions, learnt where a training begins and kept for when it goes on: the library breaks
    ties anew each time."""
    path = run / "clip_merges.json"
    if begins_anew(run / "clip.pt", by_clock) or not path.exists():
        merges = clip_model.learn_merges([f"{picture.caption} {picture.style}" for picture in data.pictures])
        partial = path.with_suffix(".tmp")
        partial.write_text(json.dumps(merges), encoding="utf-8")
        partial.replace(path)
    return [tuple(pair) for pair in json.loads(path.read_text(encoding="utf-8"))]


def run_training(data: Data, arguments: argparse.Namespace) -> None:
    # Asked already before the vocabulary is known: other byte pairs would be kept in the place of its own.
    check_state(arguments.run / "clip.pt", bool(arguments.deadline), split=data.split)
    merges = kept_merges(arguments.run, data, bool(arguments.deadline))
    tied = dict(split=data.split, vocabulary=hashlib.sha256(json.dumps(merges).encode()).hexdigest()[:16])
    check_state(arguments.run / "clip.pt", bool(arguments.deadline), **tied)
    tokenizer = clip_model.make_tokenizer(merges)
    torch.manual_seed(arguments.seed)
    model = clip_model.build(tokenizer).to(data.device)
    averaged, stored = (copy.deepcopy(model).requires_grad_(False) for _ in range(2))
    print(f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.2f} M parameters, {len(tokenizer)} "
          "tokens", flush=True)

    def after_save(step: int) -> None:
        state = averaged.state_dict()
        stored.load_state_dict(weights.dequantise(weights.quantise(state)))
        figures = evaluate(stored, tokenizer, data.held_out_pictures, data.held_out) if len(data.held_out) else {}
        print(json.dumps({"step": step, **figures}), flush=True)
        path = arguments.run / clip_model.PATH.name
        clip_model.pack(state, merges, figures, path, steps=str(step), split=data.split)

    train(model, tokenizer, data, arguments, after_save, averaged, **tied)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    training.add_options(parser, steps=3000, batch=256, peak=1e-3)
    parser.add_argument("--tones", type=float, default=0.0,
                        help="weight of telling skin tones by their prompts, beside telling captions")
    parser.add_argument("--kinds", type=float, default=0.0,
                        help="the same of kinds: persons, animals or plants, food, symbols")
    parser.add_argument("--evaluate", action="store_true", help="only measure the weights in demo/, without training")
    arguments = parser.parse_args()
    data = training.prepare(arguments, clip_model.SIZE)
    if arguments.evaluate:
        evaluate_stored(data)
    else:
        run_training(data, arguments)


if __name__ == "__main__":
    main()
