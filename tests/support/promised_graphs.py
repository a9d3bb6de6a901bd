"""Graphs in API format in which every node that takes a MODEL runs with one thing patched or carried, and core's own
nodes beside them.

What is patched changes `on`, the links that all of these nodes start from: the MODEL, the prompts, the CLIP and the
VAE.
"""
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from uuid import uuid4

import graphs
import torch
from alignments import NUMBERS
from graphs import node
from safetensors.torch import load_file
from torch import Tensor

Links = dict[str, list]
STEPS = dict(steps=3, scheduler="normal")
SHORT = dict(STEPS, cfg=3.0, seed=5)
DDIM = {"method": "ddim", "method.told": "target"}


@dataclass(frozen=True)
class Kind:
    """A checkpoint: its node for empty latents, and the layer that is probed."""

    checkpoint: str
    empty: str = "EmptyLatentImage"
    layer: str = "middle_block"


class Graph(dict):
    """A graph that grows, with what every node starts from."""

    def __init__(self, kind: Kind):
        super().__init__()
        self.kind, self.number = kind, count()
        self["checkpoint"] = node("CheckpointLoaderSimple", ckpt_name=kind.checkpoint)
        self.on: Links = {"model": ["checkpoint", 0], "clip": ["checkpoint", 1], "vae": ["checkpoint", 2]}
        for name, text in (("positive", "red heart"), ("negative", ""), ("other", "cat face")):
            self[name] = node("CLIPTextEncode", text=text, clip=["checkpoint", 1])
            self.on[name] = [name, 0]
        self["size"], self["two"] = (node(kind.empty, width=64, height=64, batch_size=size) for size in (1, 2))
        # Clean latents, for whatever starts from pictures.
        self["pictures"] = node("KSampler", **self.on_plain("model", "positive", "negative"), latent_image=["two", 0],
                                sampler_name="euler", denoise=1.0, **SHORT)

    def on_plain(self, *names: str) -> Links:
        return {name: self.on[name] for name in names}

    def add(self, kind: str, output: int = 0, **inputs) -> list:
        """A link to a new node."""
        name = f"added_{next(self.number)}"
        self[name] = node(kind, **inputs)
        return [name, output]

    def save(self, name: str, latent: list) -> None:
        self[f"save_{name}"] = node("SaveLatent", samples=latent, filename_prefix=f"promised/{name}")

    def hspace(self) -> list:
        return self.add("HSpaceHook", model=self.on["model"], layer="auto", pooling="none")

    def prompted(self, *names: str) -> Links:
        return self.on_plain(*(names or ("model", "positive", "negative")))


def _ksampler(graph: Graph, size: str) -> list:
    return graph.add("KSampler", **graph.prompted(), latent_image=[size, 0], sampler_name="euler", denoise=1.0, **SHORT)


def _aligned(graph: Graph, **change) -> list:
    effort = {**NUMBERS, **dict(aligned_steps=1, iterations=1, keep=2, solver="L-BFGS"), **change}
    settings = {**SHORT, "count": 2, "preset": "custom",
                **{f"preset.{name}": value for name, value in effort.items()}}
    return graph.add("AlignTrajectories", hspace=graph.hspace(), latent_image=["size", 0],
                     **graph.prompted("positive", "negative"), **settings)


def _mixture(graph: Graph, output: int) -> list:
    return graph.add("AlignMixtureModes", output, hspace=graph.hspace(), **graph.prompted("positive", "negative"),
                     latent_image=["size", 0], samples=["pictures", 0], count=2, components="fixed", aligned_steps=1,
                     preset="draft", mixture_level=0.3, minimum_size=1, **SHORT, **{"components.modes": 1})


def _inverted(graph: Graph, **change) -> list:
    return graph.add("DDIMInvert", **{**graph.prompted(), **STEPS, **DDIM, "cfg": 1.0, "measure": False,
                                      "latent_image": ["pictures", 0], **change})


def _sampler(graph: Graph, cfg: float, latent: list, noise: list, up: bool = False) -> list:
    """Our SAMPLER inside core's own guider."""
    sigmas = graph.add("BasicScheduler", model=graph.on["model"], denoise=1.0, **STEPS)
    return graph.add("SamplerCustomAdvanced", noise=noise, latent_image=latent,
                     guider=graph.add("CFGGuider", cfg=cfg, **graph.prompted()),
                     sampler=graph.add("DDIMSamplerSelect", **DDIM),
                     sigmas=_flipped(graph, sigmas) if up else sigmas)


def _flipped(graph: Graph, sigmas: list) -> list:
    """From 0 on, where FlipSigmas writes 0.0001."""
    return graph.add("SetFirstSigma", sigmas=graph.add("FlipSigmas", sigmas=sigmas), sigma=0.0)


def align(graph: Graph) -> None:
    graph.save("aligned", _aligned(graph))


def align_nothing(graph: Graph) -> None:
    graph.save("not_aligned", _aligned(graph, aligned_steps=0))


def mixture(graph: Graph) -> None:
    graph.save("mixture", _mixture(graph, 0))


def average(graph: Graph) -> None:
    graph.save("average", graph.add("MentalAverage", **graph.prompted(), latent_image=["size", 0], count=2,
                                    averaged_steps=1, **SHORT))


def shared_average(graph: Graph) -> None:
    average = {"average": "MentalAverage", "average.guidance_share": 0.7}
    # A MeanShard refuses rows of another model, and these graphs run one after the other on a server.
    prefix = f"promised/shared_{uuid4().hex}"
    path = graph.add("MeanShard", **graph.on_plain("positive", "negative"), hspace=graph.on["model"],
                     latent_image=["size", 0], start=0, count=2, total=2, filename_prefix=prefix, **average, **SHORT)
    graph.save("shared_average", graph.add(
        "MentalAverage", **graph.prompted(), latent_image=["size", 0], count=2, averaged_steps=1,
        first_mean=graph.add("MergeMeans", paths=path), **SHORT))


def tree(graph: Graph) -> None:
    averages = graph.add("ModeTree", 4, **graph.prompted("model", "vae", "positive", "negative"), count=2,
                         latent_image=["size", 0], cut="level", noises=2, iterations=3, levels="1", **SHORT,
                         **{"cut.level": 1})
    # There may be one, or two.
    graph.save("tree", graph.add("LatentFromBatch", samples=averages, batch_index=0, length=1))


def zero(graph: Graph) -> None:
    graph.save("zero", graph.add("ZeroLatent", **graph.prompted(), latent_image=["size", 0], noise_scale=1.0, **SHORT))


def d4m(graph: Graph) -> None:
    graph.save("d4m", graph.add("D4MPrototype", **graph.prompted(), latents=["pictures", 0], strength=0.7, **SHORT))


def mgd3(graph: Graph) -> None:
    graph.save("mgd3", graph.add("MGD3Prototype", **graph.prompted(), latents=["pictures", 0], mode_guidance=0.1,
                                 **SHORT))


def invert(graph: Graph) -> None:
    graph.save("inverted", _inverted(graph))


def invert_by_null_text(graph: Graph) -> None:
    graph.save("null_text", _inverted(graph, cfg=3.0, method="null_text", **{
        "method.iterations": 1, "method.learning_rate": 0.01}))


def sample(graph: Graph) -> None:
    graph.save("sampled", graph.add("DDIMSample", **graph.prompted(), latent=_noise(graph), cfg=3.0, **STEPS))


def _noise(graph: Graph) -> list:
    """Noise by DDIMInvert on the plain model, the same for everybody."""
    plain = dict(model=["checkpoint", 0], positive=["positive", 0], negative=["negative", 0])
    return _inverted(graph, **plain)


def sampler(graph: Graph) -> None:
    graph.save("from_a_seed", _sampler(graph, SHORT["cfg"], ["two", 0],
                                       graph.add("RandomNoise", noise_seed=SHORT["seed"])))


def capture(graph: Graph) -> None:
    graph["capture"] = node("CaptureHSpace", hspace=graph.hspace(), positive=graph.on["positive"],
                            latent=["pictures", 0], percent=0.5, seed=0, save_as="promised/features")


def represent(graph: Graph) -> None:
    found = graph.add("ChannelMeans", **graph.prompted("model", "positive"), latents=["pictures", 0], levels="0.5",
                      draws=2, layer="auto", pooling="mean", seed=0)
    graph["means_represented"] = node("SaveRepresentation", representation=found,
                                      filename_prefix="promised/representation")


def memorised(graph: Graph) -> None:
    # Of references that are the pictures themselves some may be flagged at this rate.
    report = graph.add("MemorisationScore", 2, **graph.prompted("model", "positive"), pictures=["pictures", 0],
                       references=["pictures", 0], score="deviation", false_positive_rate=0.4,
                       layers=graph.kind.layer, levels="0.5", pooling="mean", draws=1, seed=0)
    graph["report_memorised"] = node("SaveReport", report=report, filename_prefix="promised/memorised")


def reconstruct(graph: Graph) -> None:
    found = graph.add("ChannelMeans", **graph.prompted("model", "positive"), latents=["pictures", 0], levels="0.3, 0.7",
                      draws=2, layer="auto", pooling="mean", seed=0)
    graph.save("reconstructed", graph.add("ReconstructFromRepresentation", **graph.prompted("model", "positive"),
                                          representation=found, count=2, iterations=2, learning_rate=0.02, seed=0))


def probe(graph: Graph) -> None:
    report = graph.add("SemanticLayerProbe", 3, model=graph.on["model"], negative=graph.on["negative"],
                       latent_image=["size", 0], samples=4, levels="0", matched=1, iterations=1, pooling="none",
                       layers=graph.kind.layer, **SHORT,
                       **{"prompts.prompts0": graph.on["positive"], "prompts.prompts1": graph.on["other"]})
    graph["report_probe"] = node("SaveReport", report=report, filename_prefix="promised/probe")


def lora(graph: Graph) -> None:
    report = graph.add("TrainModeLoRA", 3, **graph.prompted("model", "positive"), latents=["pictures", 0], steps=2,
                       learning_rate=1e-3, rank=1, seed=0)
    graph["report_lora"] = node("SaveReport", report=report, filename_prefix="promised/lora")


def embedding(graph: Graph) -> None:
    report = graph.add("TrainModeEmbedding", 3, **graph.prompted("model", "clip"), latents=["pictures", 0],
                       name="promised", initial_text="heart", vectors=1, template="a {}", steps=2, learning_rate=1e-2,
                       seed=0, overwrite=True)
    graph["report_embedding"] = node("SaveReport", report=report, filename_prefix="promised/embedding")


def modes(graph: Graph, adapter: str = "none", **inputs) -> None:
    """The clusters are of the plain model, so that it is this node that runs first."""
    on, graph.on = graph.on, {**graph.on, "model": ["checkpoint", 0], "positive": ["positive", 0],
                              "negative": ["negative", 0]}
    clusters, graph.on = _mixture(graph, 1), on
    graph.save(f"modes_{adapter}", graph.add(
        "AlignModes", 2, **graph.prompted("model", "vae", "positive", "negative"), latents=["pictures", 0],
        clusters=clusters, adapter=adapter, most_modes=1, count=2, preset="draft", overrides="", **SHORT,
        **{f"adapter.{name}": value for name, value in inputs.items()}))


def modes_with_lora(graph: Graph) -> None:
    modes(graph, "lora", steps=1, learning_rate=1e-3, rank=1, save_as="")


def core(graph: Graph) -> None:
    """What ours are compared with: KSamplers, and our SAMPLER inside core's guider up and down."""
    graph.save("ksampler", _ksampler(graph, "size"))
    graph.save("ksampler_two", _ksampler(graph, "two"))
    nothing = graph.add("DisableNoise")
    graph.save("up", _sampler(graph, 1.0, ["pictures", 0], nothing, up=True))
    graph.save("down", _sampler(graph, 3.0, _noise(graph), nothing))


# Whatever of ours takes a MODEL, by what is saved of it.
NODES: dict[str, Callable[[Graph], None]] = {
    "aligned": align, "not_aligned": align_nothing, "mixture": mixture, "average": average, "tree": tree,
    "zero": zero, "inverted": invert, "null_text": invert_by_null_text, "sampled": sample, "from_a_seed": sampler,
    "features": capture, "probe": probe, "lora": lora, "embedding": embedding, "modes_none": modes,
    "modes_lora": modes_with_lora, "d4m": d4m, "mgd3": mgd3, "represented": represent,
    "memorised": memorised, "shared_average": shared_average, "reconstructed": reconstruct,
}
# Ours, and the one of core's nodes that gives the same.
EQUAL = {"zero": "ksampler", "not_aligned": "ksampler_two", "from_a_seed": "ksampler_two", "inverted": "up",
         "sampled": "down"}


def results(server, graph: Graph) -> dict[str, Tensor]:
    """What came out of every node that was to be saved, by name: latents, features, or a report's numbers."""
    run, found = graphs.run(server, graph), {}
    for key, outputs in run.entry["outputs"].items():
        kind, _, name = key.partition("_")
        if kind == "save":
            file, = outputs["latents"]
            found[name] = load_file(server.output_directory / file["subfolder"] / file["filename"])["latent_tensor"]
        elif key == "capture":
            found["features"] = load_file(_saved(server, outputs))["features"]
        elif kind == "means":
            found[name] = load_file(_saved(server, outputs))["means"]
        elif kind == "report":
            report = json.loads(_saved(server, outputs).read_text(encoding="utf-8"))
            found[name] = torch.tensor(_numbers(report))
    return found


def _numbers(report: dict) -> list:
    if "losses" in report:
        return report["losses"]
    if "scores" in report:
        return [score["scores"] for score in report["scores"]]
    return [[layer["score"], *layer["left"]] for layer in report["layers"]]


def _saved(server, outputs: dict):
    text, = outputs["text"]
    return server.output_directory / text.removeprefix("Saved ")
