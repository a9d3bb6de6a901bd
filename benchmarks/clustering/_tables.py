"""The tables and figures of modes: adapters and averages of each mode."""
from __future__ import annotations

import functools

import numpy as np
from _adapters import GUIDANCE
from support import print_table, with_interval

from mental_averages.dma import statistics

METHODS = ("none", "lora", "embedding", "members", "mixture", "lora_shifted", "members_shifted")
TITLES = {"none": "plain prompt", "lora": "LoRA", "embedding": "embedding", "members": "its samples, no training",
          "mixture": "mixture, no training", "lora_shifted": "LoRA, mean shift",
          "members_shifted": "mean shift from its samples, no training"}


def print_modes(results: list[dict], arguments) -> None:
    print(f"\nK {arguments.count}, guidance {GUIDANCE}, preset {arguments.preset}, {arguments.repetitions} "
          f"repetitions; LoRA of rank 1 on {arguments.target}, {arguments.steps_lora} steps at "
          f"{arguments.rate_lora:g}; embedding of 1 vector, {arguments.steps_embedding} steps at "
          f"{arguments.rate_embedding:g}, without the idle layers of the demo's text encoder, which would take "
          f"{results[0]['encoding_seconds']:.2f} s more per step. {arguments.samples} new samples per adapter.\n")
    judged = {"before": arguments.count * (arguments.repetitions - 1), "lora": arguments.samples,
              "embedding": arguments.samples}

    def share_in_words(share: float, count: int) -> str:
        low, high = statistics.wilson_interval(round(share * count), count)
        return f"{100 * share:.0f} % ({100 * low:.0f}-{100 * high:.0f})"

    print_table(["mode", "members", "judge's kappa", "share before", "with LoRA", "with embedding"],
                [[f"{mode['concept']} {mode['mode']}", str(mode["members"]), f"{mode['kappa']:.2f}",
                  *(share_in_words(mode["shares"][name], count) for name, count in judged.items())]
                 for mode in results])
    print("\nIn parentheses: 95 % Wilson intervals.")
    print()
    rows = []
    for method in METHODS:
        columns = {name: np.array([mode["methods"][method][name] for mode in results])
                   for name in results[0]["methods"][method]}
        rows.append([TITLES[method], f"{100 * columns['nearest'].mean():.0f} %",
                     *(with_interval(columns[name]) for name in ("own", "other", "consistency")),
                     f"{columns['training'].mean():.0f}", f"{columns['averaging'].mean():.1f}"])
    print_table(["averages by", "in their own mode", "distance to own mode", "to the nearest other",
                 "consistency distance", "seconds of training", "seconds of averaging"], rows)
    print(f"\nMembers of a mode are {np.mean([mode['spread'] for mode in results]):.3f} from each other. By its own "
          f"measure, the mixture has {100 * np.mean([mode['mixture_in_own_mode'] for mode in results]):.0f} % of its "
          "averages in their own mode; its modes share "
          f"{100 * np.mean([mode['mixture_overlap'] for mode in results]):.0f} % of their samples (intersection over "
          "union) with those of the demo CLIP.\n")


def mode_figures(results: list[dict], arguments) -> dict[str, float]:
    def mean(*path: str) -> float:
        return float(np.mean([functools.reduce(dict.__getitem__, path, mode) for mode in results]))

    figures = {f"mode_share_{name}": mean("shares", name) for name in ("before", "lora", "embedding")}
    for name in ("lora", "embedding"):
        figures[f"modes_at_80_percent_{name}"] = float(np.mean([mode["shares"][name] >= 0.8 for mode in results]))
        figures[f"seconds_{name}"] = mean("methods", name, "training")
    for figure, name in (("own_mode_nearest", "nearest"), ("own_mode_distance", "own"),
                         ("other_mode_distance", "other"),
                         ("mode_consistency", "consistency"), ("seconds_averaging", "averaging")):
        figures |= {f"{figure}_{method}": mean("methods", method, name) for method in METHODS}
    encoding = arguments.steps_embedding * mean("encoding_seconds")
    return {**figures, "judge_kappa": mean("kappa"), "mixture_in_own_mode": mean("mixture_in_own_mode"),
            "mixture_overlap": mean("mixture_overlap"),
            "seconds_embedding_with_text_encoder": figures["seconds_embedding"] + encoding}
