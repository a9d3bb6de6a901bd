"""Family trees for mode_tree.py: grown, compared with known labels and with other ways to modes."""
from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.metrics import adjusted_rand_score
from support import SCHEDULER, STEPS, DemoModel, FeatureSpace, pairwise_distance, sharpness
from torch import Tensor

import pack
from mental_averages.dma.clustering import Clusters
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.mean_shift import (
    GUIDANCE_SHARE,
    Cut,
    Family,
    FamilySettings,
    MeanShiftSettings,
    TreeSettings,
    averaged_guidance,
    family_tree,
    mode_average,
    noise_for,
    spread_steps,
)

BATCH = 32
LEVELS = 5


class Rule(NamedTuple):
    """How a mode is averaged: at so many levels, at this share of the guidance."""

    levels: int
    share: float


OWN_RULE = Rule(FamilySettings().average.averaged_steps, GUIDANCE_SHARE)  # that of a new ModeTree
RULES = [OWN_RULE, Rule(4, 0.5), Rule(6, 0.5), Rule(6, 0.7)]


class Looks(NamedTuple):
    """What the pictures of averages are: whether each is in its own mode; how far from its samples, relative to
    these from each other; their sharpness relative to their samples'."""

    own: list[bool]
    distances: list[float]
    sharpness: list[float]


def grown(demo: DemoModel, prompt: str, guidance: float, *, count: int = 48, seed: int = 0, noises: int = 16,
          iterations: int = 30, modes: int = 2, samples: Tensor | None = None) -> tuple[Family, float]:
    """A family tree with the values of a new ModeTree, and the CPU seconds that it took."""
    def run(denoiser: Any, sigmas: Tensor) -> Family:
        steps = spread_steps(LEVELS, sigmas.tolist(), denoiser.parametrization, demo.shape)
        settings = FamilySettings(count, 0, TreeSettings(steps, noises, iterations, seed),
                                  _averaging(noises, seed, guidance), Cut(modes=modes))
        return family_tree(denoiser, sigmas, demo.shape, settings, seeking=denoiser.with_guidance(1.0),
                           averaging=denoiser.with_guidance(averaged_guidance(guidance)), samples=samples,
                           batch=BatchSize(BATCH))

    started = time.process_time()
    family = demo.with_denoiser(prompt, guidance, run, layer=None, gradients=False)
    return family, time.process_time() - started


def _averaging(noises: int, seed: int, guidance: float) -> MeanShiftSettings:
    return replace(FamilySettings().average, count=noises, seed=seed, restored_noise=noise_for(guidance))


def averages_by(rule: Rule, demo: DemoModel, prompt: str, guidance: float, family: Family, *, noises: int,
                seed: int = 0) -> Tensor:
    """The averages (M, C, H, W) of the modes that the family has averages of, by another rule or other noises."""
    level = family.tree.levels[family.chosen]

    def run(denoiser: Any, sigmas: Tensor) -> Tensor:
        settings = replace(FamilySettings(), average=replace(_averaging(noises, seed, guidance),
                                                             averaged_steps=rule.levels))
        averaging = denoiser.with_guidance(averaged_guidance(guidance, rule.share))
        return torch.cat([mode_average(denoiser, sigmas, level, mode, settings.average_at(level.step, len(sigmas) - 1),
                                       averaging=averaging, batch=BatchSize(BATCH)).latents
                          for mode in range(family.leading)])

    return demo.with_denoiser(prompt, guidance, run, layer=None, gradients=False)


def mixture_modes(demo: DemoModel, concept: str, guidance: float, samples: Tensor, *, modes: int | None = None,
                  seed: int = 0) -> tuple[Tensor, Clusters, float]:
    """Averages (C, C, H, W) in the model's units and modes of finished samples by AlignMixtureModes, and the CPU
    seconds; one mode is what AlignModes makes of a mode's own samples without training."""
    from mental_averages.nodes import comfyui
    from mental_averages.nodes.alignment import AlignMixtureModes

    model = comfyui.HSpace(demo.model, comfyui.resolve_layer(demo.model, "auto"), "none")
    components = ({"components": "bic", "smallest": 2, "largest": 6} if modes is None
                  else {"components": "fixed", "modes": modes})
    started = time.process_time()
    with torch.inference_mode():
        averages, clusters, _, _ = AlignMixtureModes.execute(
            model, pack.encode_prompt(demo.clip, concept), pack.encode_prompt(demo.clip, ""),
            {"samples": torch.zeros(1, *demo.shape)}, len(samples), components, STEPS, 4, guidance, SCHEDULER, seed,
            "standard", 0.3, samples=comfyui.latents_out_of_model(demo.model, samples), minimum_size=1,
            resume=False).args
    return (comfyui.latents_into_model(demo.model, averages["samples"]), clusters, time.process_time() - started)


def in_own_mode(judge: FeatureSpace, averages: Tensor, samples: Tensor, clusters: Clusters) -> list[bool]:
    """Whether each average (M, H, W, 3) is nearer to the samples (N, H, W, 3) of its own mode than to those of any
    other, by the mean of 1 - cosine; of modes of two samples or more."""
    features, found = judge(samples), judge(averages)
    large = [mode for mode, rows in enumerate(clusters.members) if len(rows) > 1]
    if len(large) < 2:
        return []
    distances = torch.stack([1 - (found @ features[list(clusters.members[mode])].T).mean(1) for mode in large], dim=1)
    return [bool(distances[mode].argmin() == place) for place, mode in enumerate(large) if mode < len(averages)]


def looks_of(judge: FeatureSpace, averages: Tensor, samples: Tensor, clusters: Clusters) -> Looks:
    """What the averages (M, H, W, 3) of modes are beside the samples (N, H, W, 3); of modes of several samples."""
    features, found = judge(samples), judge(averages)
    distances, ratios = [], []
    for mode, rows in enumerate(clusters.members[: len(averages)]):
        if len(rows) > 1:
            members = features[list(rows)]
            distances.append(float(1 - (found[mode] @ members.T).mean()) / pairwise_distance(members))
            ratios.append(float(sharpness(averages[mode : mode + 1]).mean() / sharpness(samples[list(rows)]).mean()))
    return Looks(in_own_mode(judge, averages, samples, clusters), distances, ratios)


def apart(judge: FeatureSpace, first: Tensor, second: Tensor, samples: Tensor) -> list[float]:
    """How far pictures (M, H, W, 3) of the same modes are apart, relative to samples (N, H, W, 3) from each other."""
    return ((1 - (judge(first) * judge(second)).sum(1)) / pairwise_distance(judge(samples))).tolist()


def best_agreement(family: Family, labels: np.ndarray) -> tuple[float, float]:
    """The adjusted Rand index with known labels (N,) at the chosen level, and at the best."""
    by_level = [adjusted_rand_score(labels, level.labels.numpy()) for level in family.tree.levels]
    return float(by_level[family.chosen]), float(max(by_level))
