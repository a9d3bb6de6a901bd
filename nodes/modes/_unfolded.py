"""The graph that AlignModes unfolds into."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from comfy_execution.graph_utils import GraphBuilder

from ...dma import alignment
from .. import comfyui
from ._overrides import EMBEDDING, NO_ADAPTER, OF_AVERAGE

MEMBERS_SHOWN = 5
MIXTURE_LEVEL = 0.3


@dataclass(frozen=True)
class Mode:
    """The choices for one mode: those of its average, and those of its adapter's training with the training's seed."""

    settings: dict[str, Any]
    training: dict[str, Any]

    @classmethod
    def of(cls, settings: dict[str, Any], adapter: dict[str, Any], changes: dict[str, float]) -> Mode:
        # The steps of an override are those of training, not of sampling.
        settings = {**settings, **{name: value for name, value in changes.items() if name in OF_AVERAGE}}
        return cls(settings, {**adapter, **{name: value for name, value in changes.items() if name not in OF_AVERAGE},
                              "seed": settings["seed"]})


def target_of(training: dict[str, Any]) -> str:
    return training.get("target") or comfyui.ATTENTION  # ComfyUI gives None for what the graph does not name


def saved_name(prefix: str, mode: int) -> str:
    return f"{prefix}_mode_{mode}"


def embedding_name(name: str, mode: int) -> str:
    return f"{comfyui.plain_name(name)}_{mode}"


@dataclass
class Unfolded:
    """The graph that the node unfolds into. A mode's nodes have ids of their own and depend on nothing of other
    modes."""

    links: dict[str, Any]  # the node's own inputs, as the graph has them
    members: Sequence[Sequence[int]]  # of each mode, the most typical first
    layer: str
    pooling: str
    nodes: GraphBuilder = field(default_factory=GraphBuilder)

    def average(self, mode: int, choices: Mode) -> dict[str, list]:
        """Links to a mode's average as latent and as picture, and to its most typical pictures."""
        links, settings, training = self.links, choices.settings, choices.training
        members = self.nodes.node("SelectMode", f"mode_{mode}_samples", clusters=links["clusters"],
                                  batch=links["latents"], mode=mode).out(0)
        model, positive = self.adapted(mode, members, training)
        hspace = self.nodes.node("HSpaceHook", f"mode_{mode}_hspace", model=model, layer=self.layer,
                                 pooling=self.pooling).out(0)
        shared = dict(hspace=hspace, positive=positive, negative=links["negative"], latent_image=links["latents"],
                      **settings)
        if training["adapter"] == NO_ADAPTER:
            aligned = min(alignment.PRESETS[settings["preset"]].aligned_steps,
                          max(1, int((1 - MIXTURE_LEVEL) * settings["steps"])))
            average = self.nodes.node("AlignMixtureModes", f"mode_{mode}_average", samples=members,
                                      mixture_level=MIXTURE_LEVEL, minimum_size=1, aligned_steps=aligned,
                                      **{"components": "fixed", "components.modes": 1}, **shared)
        else:
            # draft keeps one whatever is asked for, and has no such input.
            kept = {} if settings["preset"] == "draft" else {"preset.keep": 1}
            average = self.nodes.node("AlignTrajectories", f"mode_{mode}_average", **kept, **shared)
        latent = average.out(0)
        return {"latent": latent, "picture": self.nodes.node("VAEDecode", f"mode_{mode}_picture", samples=latent,
                                                             vae=links["vae"]).out(0),
                "typical": self.typical(mode)}

    def typical(self, mode: int) -> list[list]:
        """Links to the most typical pictures of a mode. Each is taken out by itself, since SelectMode would hold copies
        of all pictures for every mode."""
        if "images" not in self.links:
            return []
        return [self.nodes.node("ImageFromBatch", f"mode_{mode}_typical_{place}", image=self.links["images"],
                                batch_index=row, length=1).out(0)
                for place, row in enumerate(self.members[mode][:MEMBERS_SHOWN])]

    def adapted(self, mode: int, members: list, training: dict[str, Any]) -> tuple[list, list]:
        """Links to the model and the prompt that make pictures of a mode."""
        links, kind = self.links, training["adapter"]
        if kind == NO_ADAPTER:
            return links["model"], links["positive"]
        shared = dict(model=links["model"], latents=members, steps=training["steps"],
                      learning_rate=training["learning_rate"], seed=training["seed"])
        if kind == EMBEDDING:
            trained = self.nodes.node("TrainModeEmbedding", f"mode_{mode}_adapter", clip=links["adapter.clip"],
                                      name=embedding_name(training["name"], mode),
                                      initial_text=training["initial_text"], vectors=training["vectors"],
                                      template=training["template"], overwrite=training["overwrite"], **shared)
            return links["model"], trained.out(1)
        trained = self.nodes.node("TrainModeLoRA", f"mode_{mode}_adapter", positive=links["positive"],
                                  rank=training["rank"], target=target_of(training), **shared)
        if training["save_as"]:
            self.nodes.node("SaveLoRA", f"mode_{mode}_saved", lora=trained.out(0),
                            prefix=saved_name(training["save_as"], mode))
        return trained.out(1), links["positive"]

    def collect(self, averaged: list[dict[str, list]], captions: list[str]) -> tuple[list, list, list]:
        """Links to all pictures in one batch, to their sheet, and to all latents in one batch."""
        pictures = self.nodes.node("BatchImagesNode", "pictures",
                                   **{f"images.image{mode}": found["picture"] for mode, found in enumerate(averaged)})
        latents = self.nodes.node("BatchLatentsNode", "latents",
                                  **{f"latents.latent{mode}": found["latent"] for mode, found in enumerate(averaged)})
        rows = {}
        for mode, found in enumerate(averaged):
            row = found["picture"]
            if found["typical"]:
                row = self.nodes.node("BatchImagesNode", f"mode_{mode}_row",
                                      **{f"images.image{place}": picture
                                         for place, picture in enumerate([row, *found["typical"]])}).out(0)
            rows[f"rows.images{mode}"] = row
        sheet = self.nodes.node("LabelledSheet", "sheet", captions="\n".join(captions), title="", cell=192,
                                columns=1 + MEMBERS_SHOWN, **rows)
        return pictures.out(0), sheet.out(0), latents.out(0)
