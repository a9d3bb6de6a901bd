"""Clusters of real demo pictures whose labels are known: the first part of the benchmark of modes."""
from __future__ import annotations

import numpy as np
from support import (
    ATTRIBUTES,
    DIMENSIONS,
    LARGEST_COUNT,
    PER_LABEL,
    agreement,
    labelled_pictures,
    load_encoder,
    print_table,
    with_interval,
)

from mental_averages.dma import encoders


def measure_attribute(name: str, arguments) -> dict:
    """How well clusters by prompts and by plain CLIP embeddings agree with an attribute's labels."""
    attribute = next(attribute for attribute in ATTRIBUTES if attribute.name == name)
    encoder = load_encoder(arguments.encoder)
    images, labels = labelled_pictures(attribute, arguments.data)
    scored = encoders.prompt_scores(encoder, images, list(attribute.prompts))
    embeddings = {"attribute": scored.values, "clip": encoders.embed_images(encoder, images)}
    measured = agreement(embeddings, labels, arguments.subsets)
    print(f"{name}: " + ", ".join(f"{way} {np.mean(found['ari']):.3f}" for way, found in measured.items()), flush=True)
    return {"attribute": attribute, "counts": np.bincount(labels).tolist(), "measured": measured}


def print_labels(results: list[dict], subsets: int) -> None:
    print(f"\nHeld-out real pictures, {subsets} random subsets with {PER_LABEL} pictures per label. Agreement: "
          f"adjusted Rand index, 1 for the labels themselves, 0 for chance. Clusters in {DIMENSIONS} principal "
          f"components, BIC over 1 to {LARGEST_COUNT}; intervals over subsets, which share pictures. The question way "
          "of AttributeEmbed is measured by attribute_states.")
    for result in results:
        attribute = result["attribute"]
        pictures = ", ".join(f"{label} {count}" for label, count in zip(attribute.labels, result["counts"]))
        print(f"{attribute.name}: {pictures}; prompts: {', '.join(attribute.prompts)}")
    print()
    print_table(["labels", "embedding", "agreement, number of labels given", "agreement, number by BIC",
                 "number by BIC", "BIC finds the true number"],
                [[result["attribute"].name.replace("_", " "), way, with_interval(found["ari"]),
                  with_interval(found["ari_by_bic"]),
                  f"{np.mean(found['found']):.1f} of {len(result['attribute'].labels)}",
                  f"{100 * found_share(result, way):.0f} %"]
                 for result in results for way, found in result["measured"].items()])


def found_share(result: dict, way: str) -> float:
    """How often BIC found the true number of labels."""
    return float(np.mean(np.array(result["measured"][way]["found"]) == len(result["attribute"].labels)))


def label_figures(results: list[dict]) -> dict[str, float]:
    figures = {}
    for result in results:
        name = result["attribute"].name
        for way, found in result["measured"].items():
            figures |= {f"ari_{name}_{way}": float(np.mean(found["ari"])),
                        f"ari_{name}_{way}_by_bic": float(np.mean(found["ari_by_bic"])),
                        f"bic_found_true_number_{name}_{way}": found_share(result, way)}
    for way, name in (("attribute", "bic_found_true_number"), ("clip", "bic_found_true_number_clip")):
        figures[name] = float(np.mean([found_share(result, way) for result in results]))
    return figures
