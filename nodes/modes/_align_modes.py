"""AlignModes: an adapter and a mental average for each mode, as one node that unfolds into a graph."""
from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ...dma import alignment
from ...dma.clustering import Clusters
from ...dma.training import TrainingSettings
from .. import comfyui, inputs
from ..inputs import CLUSTERS, LAYERS, check_training_latents, checked, count_of, lora_target, take
from ..training import prepare
from ._overrides import (
    EMBEDDING,
    LORA,
    NO_ADAPTER,
    NUMBERS,
    OF_ADAPTER,
    SAMPLING_STEPS,
    parse_overrides,
)
from ._unfolded import Mode, Unfolded, embedding_name, saved_name, target_of

NODE = "AlignModes"
MOST_MODES = 20  # rows of a LabelledSheet
# Inputs that the nodes of every mode hang on.
LINKED = ("model", "vae", "positive", "negative", "latents", "clusters", "images", "adapter.clip")


def number(name: str, default: float, tooltip: str, **options: Any) -> io.Int.Input | io.Float.Input:
    """The widget of a number that overrides may change."""
    kind, lowest, highest = NUMBERS[name]
    return (io.Int if kind is int else io.Float).Input(name, default=default, min=lowest, max=highest, tooltip=tooltip,
                                                       **options)


def learning_rate(default: float) -> io.Float.Input:
    return number("learning_rate", default, "AdamW's learning rate.", step=1e-7, round=False)


class AlignModes(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        adapter = [
            io.DynamicCombo.Option(LORA, [
                number("steps", 2000, "Training steps of each mode's LoRA.", display_name="training steps"),
                learning_rate(1e-4),
                number("rank", 1, "Rank of the change of each layer. 1 is the paper's choice."),
                io.String.Input("save_as", default="",
                                tooltip="If set, each LoRA is also written to "
                                        "output/<save_as>_mode_<number>_00001_.safetensors."),
                lora_target(),
            ]),
            io.DynamicCombo.Option(EMBEDDING, [
                io.Clip.Input("clip", tooltip="The CLIP of the model's checkpoint."),
                io.String.Input("name", default="mode",
                                tooltip="The embeddings are called <name>_0, <name>_1, ... and are saved in "
                                        "models/embeddings. Names taken by other files are refused."),
                io.String.Input("initial_text", default="",
                                tooltip="Where the vectors start: the concept's own word is a good choice."),
                io.String.Input("template", default="{}",
                                tooltip="The prompt that is trained on and averaged, in place of positive; {} is where "
                                        "the vectors stand."),
                number("vectors", 1, "How many vectors are trained for each mode."),
                number("steps", 3000, "Training steps of each mode's embedding.", display_name="training steps"),
                learning_rate(1e-2),
                io.Boolean.Input("overwrite", default=False,
                                 tooltip="Replace embeddings of the same names that this node did not write itself, "
                                         "instead of refusing to start."),
            ]),
            io.DynamicCombo.Option(NO_ADAPTER, []),
        ]
        return io.Schema(
            node_id=NODE, display_name="Align Modes", category=inputs.category("modes"), enable_expand=True,
            description="Draws the mental average of each mode of a concept, with an adapter trained on the mode's "
                        "samples or without.",
            search_aliases=["modes", "clusters", "loop", "adapter", "mental average", "for each"],
            inputs=[
                io.Model.Input("model", tooltip="The model that made the samples."),
                io.Vae.Input("vae", tooltip="Its VAE, which decodes the averages."),
                io.Conditioning.Input("positive", tooltip="The prompt of the samples."),
                inputs.negative(),
                io.Latent.Input(
                    "latents", tooltip="The latents of the samples, one for each clustered picture in the same order."),
                CLUSTERS.Input("clusters", tooltip="From CLIPGMMClusters, AlignMixtureModes or ModeTree."),
                io.DynamicCombo.Input("adapter", options=adapter,
                                      tooltip="What turns the model towards a mode. lora: TrainModeLoRA (the paper's "
                                              "choice). embedding: TrainModeEmbedding. none: no training; alignment "
                                              "starts from the mode's samples, as in AlignMixtureModes."),
                io.Int.Input("most_modes", default=8, min=1, max=MOST_MODES,
                             tooltip="Average so many of the modes, from the largest on."),
                number("count", 64, "K: how many trajectories of each mode's model are averaged. Without an adapter "
                                    "these are the mode's samples, whatever their number."),
                io.Int.Input("steps", default=20, min=SAMPLING_STEPS[1], max=SAMPLING_STEPS[2],
                             display_name="sampling steps", tooltip="Sampling steps of the averages."),
                number("cfg", 3.0, "Guidance scale. The paper uses 3 with adapters.", step=0.1),
                inputs.scheduler(),
                inputs.seed("Seed of training and of all starting noise."),
                io.Combo.Input("preset", options=list(alignment.PRESETS), default="standard",
                               tooltip="How much work goes into each average, as in AlignTrajectories."),
                io.String.Input("overrides", multiline=True, default="",
                                tooltip="Other numbers for single modes, one mode per line: '1: steps=500, rank=2' or "
                                        "'0: seed=7'. Names: count, cfg, seed, and of the adapter's training steps, "
                                        "learning_rate, rank, vectors. A changed line runs its own mode again and no "
                                        "other."),
                io.Image.Input("images", optional=True,
                               tooltip="The clustered pictures: the sheet then shows the most typical of each mode "
                                       "beside its average."),
                io.Combo.Input("layer", options=LAYERS, default=comfyui.AUTO_LAYER, optional=True, advanced=True,
                               tooltip="Where features are read, as in HSpaceHook."),
                inputs.pooling("As in HSpaceHook.", optional=True, advanced=True),
            ],
            outputs=[
                io.Image.Output("averages", display_name="averages",
                                tooltip="The average of each mode, the largest mode first."),
                io.Image.Output("sheet", display_name="sheet",
                                tooltip="One row per mode with its share: its average, then its most typical pictures "
                                        "if images are connected."),
                io.Latent.Output("average_latents", display_name="latents", tooltip="The averages as latents."),
            ],
            hidden=[io.Hidden.dynprompt, io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, overrides=None, *, adapter=None) -> bool | str:
        # ComfyUI hands over the dynamic input, without its values, whether asked for or not, and None for what is
        # linked.
        try:
            parse_overrides(overrides or "")
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    @checked(elsewhere=("layer",))  # the model may have layers that are not in the list
    def execute(cls, model, vae, positive, negative, latents, clusters, adapter, most_modes, count, steps, cfg,
                scheduler, seed, preset, overrides, images=None, layer=comfyui.AUTO_LAYER,
                pooling="none") -> io.NodeOutput:
        # Links and not values: ComfyUI finds a node of an earlier run by where its inputs come from.
        links = cls.hidden.dynprompt.get_node(cls.hidden.unique_id)["inputs"]
        comfyui.check_no_lists(cls.hidden.dynprompt, links, LINKED, NODE)
        shown = min(most_modes, len(clusters.members))
        changes = parse_overrides(overrides)
        check(clusters, latents, images, adapter["adapter"], shown, changes)
        settings = dict(count=count, steps=steps, cfg=cfg, scheduler=scheduler, seed=seed, preset=preset)
        modes = [Mode.of(settings, adapter, changes.get(mode, {})) for mode in range(shown)]
        comfyui.check_conditioning(positive, "positive")
        comfyui.check_conditioning(negative, "negative")
        comfyui.latent_shape(model, latents)
        comfyui.resolve_layer(model, layer)
        check_training_latents(latents["samples"])
        comfyui.check_model(model)
        check_modes(model, latents, clusters, modes, cls.hidden.dynprompt.get_real_node_id(cls.hidden.unique_id))
        graph = Unfolded(links, clusters.members, layer, pooling)
        averaged = [graph.average(index, mode) for index, mode in enumerate(modes)]
        captions = [f"mode {mode}: {share.count} of {len(clusters.labels)} ({share.share:.0%})"
                    for mode, share in enumerate(clusters.shares[:shown])]
        averages, sheet, latent = graph.collect(averaged, captions)
        return io.NodeOutput(averages, sheet, latent, expand=graph.nodes.finalize())


def check(clusters: Clusters, latents: dict, images: Any, kind: str, shown: int,
          changes: dict[int, dict[str, float]]) -> None:
    """Raise ValueError with a sentence for the user if these inputs do not belong together."""
    expected = len(clusters.labels)
    for name, batch in (("latents", latents), ("images", images)):
        if batch is not None and count_of(batch) != expected:
            raise ValueError(f"The clusters are of {expected} pictures, but {name} holds {count_of(batch)}: connect "
                             "the batch that was clustered.")
    for mode, values in changes.items():
        if mode >= shown:
            raise ValueError(f"Overrides name mode {mode}, but {shown} modes are averaged, numbered from 0.")
        unknown = values.keys() - set(OF_ADAPTER[kind])
        if unknown:
            raise ValueError(f"Overrides of mode {mode} change {', '.join(sorted(unknown))}, which has no effect with "
                             f"the adapter {kind!r}: choose among {', '.join(OF_ADAPTER[kind])}.")
    alone = [mode for mode in range(shown) if len(clusters.members[mode]) < 2]
    if kind == NO_ADAPTER and alone:
        raise ValueError(f"Mode {alone[0]} has a single sample, which has no average without an adapter: raise "
                         "minimum_size of the clusters, or lower most_modes.")


def check_modes(model: Any, latents: dict, clusters: Clusters, modes: list[Mode], owner: str) -> None:
    """Raise ValueError if the nodes of any mode would, so that no mode is trained before another turns out to be
    impossible.

    `owner` is the node of the user's graph that unfolds into the modes' nodes.
    """
    paths = []
    for index, mode in enumerate(modes):
        settings, training, kind = mode.settings, mode.training, mode.training["adapter"]
        if kind == NO_ADAPTER:
            continue
        aligned = alignment.PRESETS[settings["preset"]].apply(alignment.AlignmentSettings(settings["count"], keep=1),
                                                            settings["steps"])
        aligned.check(len(comfyui.sigmas_of(model, settings["scheduler"], settings["steps"])) - 1)
        if kind == LORA:
            layers = comfyui.target_layers(comfyui.network_of(model), target_of(training))
            comfyui.check_rank(layers, training["rank"])
            if training["save_as"]:
                comfyui.check_prefix(training["save_as"], saved_name(training["save_as"], index), "loras/concept")
        else:
            paths.append(prepare(
                model, training["clip"], take(latents, list(clusters.members[index])),
                embedding_name(training["name"], index), training["initial_text"], training["vectors"],
                training["template"],
                TrainingSettings(training["steps"], training["learning_rate"], 1, training["seed"]),
                overwrite=training["overwrite"], owner=owner).path)
    if len(set(paths)) < len(paths):
        names = ", ".join(embedding_name(mode.training["name"], index) for index, mode in enumerate(modes))
        raise ValueError(f"Several modes would have their embeddings in one file, because there are links of the names "
                         f"{names}: remove the links, or choose another name.")
