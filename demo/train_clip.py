"""Train the demo CLIP on the demo set's pictures and names, and measure retrieval on held-out pictures.

    python demo/train_clip.py --data DATA --run FOLDER [--steps 3000] [--evaluate]

DATA is the folder of the icon sets, or an archive of it (dataset.py). Resumes from its last saved state when started
again, or with --deadline ends at a time of the clock, which its learning rate follows; a step's pictures, captions and
shifts depend only on the seed and the step's number. Runs on a GPU if there is one, else on the CPU in bfloat16. At the
end it evaluates what 8-bit storage leaves of the averaged weights, and packs them into RUN/clip_weights.safetensors:
copy that file to demo/.
"""
from __future__ import annotations

import argparse
import copy
import json
import math
import os
import re
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import clip_model
import weights
from dataset import Picture, load, sampling_weights, training_caption
from optimise import Budget

TONE = re.compile(r"\b(medium light|medium dark|light|medium|dark) skin tone")
TONES = ("light", "medium light", "medium", "medium dark", "dark")
TONE_PROMPTS = [f"person {tone} skin tone" for tone in TONES]
MOST_SHIFT = 4  # pixels
AUTOCAST = torch.bfloat16


def caption_for(picture: Picture, generator: np.random.Generator) -> str:
    """A caption as in the denoiser's training, but never an empty one: nothing can be told from it."""
    return training_caption(picture, generator) or picture.caption


def normalised(images: torch.Tensor) -> torch.Tensor:
    """uint8 pictures (B, H, W, 3) as the processor of the folder gives them to the network: (B, 3, H, W)."""
    mean, deviation = torch.tensor(clip_model.MEAN), torch.tensor(clip_model.DEVIATION)
    return ((images.float() / 255 - mean) / deviation).permute(0, 3, 1, 2)


def shifted(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Each picture (B, H, W, 3) moved by up to four pixels over white, so that places on the paper do not matter."""
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (MOST_SHIFT,) * 2, (MOST_SHIFT,) * 2, (0, 0)), constant_values=255)
    corners = generator.integers(0, 2 * MOST_SHIFT + 1, (len(images), 2))
    return np.stack([image[top : top + height, left : left + width] for image, (top, left) in zip(padded, corners)])


def contrastive_loss(pictures: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor,
                     captions: list[str]) -> torch.Tensor:
    """Cross entropy of picture against text and text against picture, over unit vectors (B, D).

    Pictures with the very same caption share it: each of them is a right answer.
    """
    numbers = {caption: index for index, caption in enumerate(captions)}
    same = torch.tensor([numbers[caption] for caption in captions], device=pictures.device)
    target = (same[:, None] == same[None]).float()
    target = target / target.sum(1, keepdim=True)  # (B, B), symmetric
    logits = scale * pictures @ texts.T
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def encode_pictures(model, pixels: torch.Tensor) -> torch.Tensor:
    return F.normalize(model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output).float(), dim=1)


def encode_texts(model, tokenizer, captions: list[str], device: torch.device) -> torch.Tensor:
    tokens = tokenizer(captions, padding=True, truncation=True, max_length=clip_model.LENGTH,
                       return_tensors="pt").to(device)
    found = model.text_model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).pooler_output
    return F.normalize(model.text_projection(found).float(), dim=1)


def learning_rate(step: int, share: float, peak: float, warmup: int = 200) -> float:
    """Linear warm-up, then half a cosine down to zero; `share` of the training is over."""
    return peak * min((step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * share))


def tone_loss(seen: torch.Tensor, prompts: torch.Tensor, scale: torch.Tensor, tones: torch.Tensor) -> torch.Tensor:
    """Cross entropy of the skin tone of pictures (B, D) against its prompts (5, D); tones (B,) count from 0 in TONES,
    and pictures without exactly one tone have -1."""
    chosen = tones >= 0
    if not chosen.any():
        return seen.sum() * 0
    return F.cross_entropy(scale * seen[chosen] @ prompts.T, tones[chosen])


def tone_of(picture: Picture) -> int:
    """The number in TONES of the one skin tone that a caption names, else -1."""
    found = TONE.findall(picture.caption)
    return TONES.index(found[0]) if len(found) == 1 else -1


def train(model, tokenizer, pictures: list[Picture], images: np.ndarray, arguments) -> torch.nn.Module:
    """The averaged network after `steps` steps, or at the deadline; goes on from RUN/clip.pt."""
    device = next(model.parameters()).device
    averaged = copy.deepcopy(model).requires_grad_(False)
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    optimiser = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
                                  lr=arguments.peak, betas=(0.9, 0.98))
    state_path, first = arguments.run / "clip.pt", 0
    budget = Budget(None if arguments.deadline else arguments.steps, arguments.deadline)
    if state_path.exists() and not arguments.deadline:
        state = torch.load(state_path, weights_only=True, map_location=device)
        if state["steps"] != arguments.steps or state["seed"] != arguments.seed or state["batch"] != arguments.batch:
            raise SystemExit(f"{state_path} is of a training with other settings: choose another --run folder or "
                             "remove it.")
        model.load_state_dict(state["model"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
        print(f"resumed at step {first}", flush=True)
    cumulative = np.cumsum(sampling_weights(pictures))
    model.train()
    running, started = None, time.monotonic()
    tones = torch.tensor([tone_of(picture) for picture in pictures])
    step = first
    while budget.share(step) < 1 or arguments.deadline and step == first:
        generator = np.random.default_rng((arguments.seed, step))
        chosen = np.searchsorted(cumulative, generator.random(arguments.batch)).clip(max=len(pictures) - 1)
        captions = [caption_for(pictures[index], generator) for index in chosen]
        pixels = normalised(torch.from_numpy(shifted(images[chosen], generator))).to(device)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, budget.share(step), arguments.peak)
        with torch.autocast(device.type, AUTOCAST):
            seen, read = encode_pictures(model, pixels), encode_texts(model, tokenizer, captions, device)
            prompts = encode_texts(model, tokenizer, TONE_PROMPTS, device) if arguments.tones else None
        loss = contrastive_loss(seen, read, model.logit_scale.exp(), captions)
        if prompts is not None:
            loss = loss + arguments.tones * tone_loss(seen, prompts, model.logit_scale.exp(),
                                                      tones[torch.from_numpy(chosen)].to(device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100.0))
            decay = min(0.998, (step + 1) / (step + 10))
            torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), 1 - decay)
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        step += 1
        over = budget.share(step) >= 1
        if step % 20 == 0 or over:
            pace = (time.monotonic() - started) / (step - first)
            print(f"step {step}, {budget.share(step):.0%} of the training, loss {running:.3f} scale "
                  f"{model.logit_scale.exp():.1f} {pace:.2f} s/step", flush=True)
        if (step % arguments.save_every == 0 or over) and not arguments.deadline:
            temporary = state_path.with_suffix(".tmp")
            torch.save(dict(step=step, steps=arguments.steps, seed=arguments.seed, batch=arguments.batch,
                            model=model.state_dict(), averaged=averaged.state_dict(), optimiser=optimiser.state_dict()),
                       temporary)
            os.replace(temporary, state_path)
    return averaged


@torch.no_grad()
def evaluate(model, tokenizer, pictures: list[Picture], images: np.ndarray) -> dict[str, float]:
    """Retrieval among held-out pictures and their captions, and skin tone by prompts.

    Image to text: the share of pictures whose own caption is the nearest (or among the five nearest) of all different
    captions, drawing style left out. Text to image: the share of captions whose nearest picture bears them. Concept:
    the nearest of all different concepts. Skin tone: the nearest of five prompts, where a caption names one tone.
    """
    model.eval()
    device = next(model.parameters()).device
    seen = torch.cat([encode_pictures(model, normalised(chunk).to(device))
                      for chunk in torch.from_numpy(images).split(256)])

    def read(texts: list[str]) -> torch.Tensor:
        return torch.cat([encode_texts(model, tokenizer, texts[first : first + 256], device)
                          for first in range(0, len(texts), 256)])

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
    tones = [TONE.findall(picture.caption) for picture in pictures]
    rows = [index for index, found in enumerate(tones) if len(found) == 1]
    if rows:
        prompts = read(TONE_PROMPTS)
        guesses = (seen[rows] @ prompts.T).argmax(1).tolist()
        truth = [TONES.index(tones[index][0]) for index in rows]
        figures |= {"skin_tone_pictures": len(rows),
                    "skin_tone_top1": sum(guess == right for guess, right in zip(guesses, truth)) / len(rows),
                    "skin_tone_most_common": Counter(truth).most_common(1)[0][1] / len(rows)}
    return {name: round(value, 4) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the icon sets (demo/dataset.py)")
    parser.add_argument("--run", type=Path, required=True, help="folder of this training's state and result")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--deadline", type=float,
                        help="end at this time, in seconds since 1970, instead of after --steps")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--tones", type=float, default=0.0,
                        help="weight of telling skin tones by their prompts, beside telling captions")
    parser.add_argument("--peak", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--save-every", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--evaluate", action="store_true", help="only measure the weights in demo/, without training")
    arguments = parser.parse_args()
    arguments.run.mkdir(parents=True, exist_ok=True)
    pictures, images = load(arguments.data, clip_model.SIZE)
    sides = {side: [index for index, picture in enumerate(pictures) if picture.held_out == side]
             for side in (False, True)}
    held_out = [pictures[index] for index in sides[True]], images[sides[True]]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if arguments.evaluate:
        state, merges = clip_model.unpack()
        tokenizer = clip_model.make_tokenizer(merges)
    else:
        training = [pictures[index] for index in sides[False]]
        merges = clip_model.learn_merges([f"{picture.caption} {picture.style}" for picture in training])
        tokenizer = clip_model.make_tokenizer(merges)
        torch.manual_seed(arguments.seed)
        model = clip_model.build(tokenizer).to(device)
        print(f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.2f} M parameters, {len(tokenizer)} "
              f"tokens, {len(training)} pictures", flush=True)
        averaged = train(model, tokenizer, training, images[sides[False]], arguments)
        state = weights.dequantise(weights.quantise(averaged.state_dict()))
    model = clip_model.build(tokenizer)
    model.load_state_dict(state)
    figures = evaluate(model.to(device), tokenizer, *held_out)
    print(json.dumps(figures, indent=1), flush=True)
    if not arguments.evaluate:
        path = arguments.run / clip_model.PATH.name
        clip_model.pack(averaged.cpu().state_dict(), merges, figures, path)
        print(f"{path}: {path.stat().st_size / 2**20:.2f} MiB", flush=True)


if __name__ == "__main__":
    main()
