"""AlignModes unfolded and executed by ComfyUI's own executor, on a small model."""
import asyncio
import re
import uuid
from collections import Counter

import pytest
import torch
from small_models import MODELS
from test_train_embedding import embeddings, small_clip  # noqa: F401

SIZES = (5, 3, 2)  # samples of each mode
LORA = {"adapter": "lora", "adapter.steps": 2, "adapter.learning_rate": 1e-3, "adapter.rank": 1, "adapter.save_as": ""}
EMBEDDING = {"adapter": "embedding", "adapter.name": "mode", "adapter.initial_text": "heart",
             "adapter.template": "a {}", "adapter.vectors": 1, "adapter.steps": 2, "adapter.learning_rate": 1e-2,
             "adapter.overwrite": False, "adapter.clip": ["given", 6]}
NONE = {"adapter": "none"}


class Listener:
    """The part of ComfyUI's server that an executor speaks to: keeps what it says."""

    client_id = last_node_id = None

    def __init__(self):
        self.messages = []

    def send_sync(self, event, data, client_id=None):
        self.messages.append((event, data))


class Comfy:
    """ComfyUI's executor with a cache of one kind, and what each queued graph has run."""

    def __init__(self, cache):
        import execution

        self.listener = Listener()
        self.executor = execution.PromptExecutor(self.listener, execution.CacheType[cache],
                                                 {"lru": 0, "ram": 0.0, "ram_inactive": 0.0})

    def queue(self, graph):
        """Run a graph; returns what came out of its node "out", and how often each class of node has run, by mode."""
        self.listener.messages.clear()
        Result.received = None
        self.executor.execute(graph, uuid.uuid4().hex, {"client_id": "test"}, ["out"])
        failed = [data["exception_message"] for event, data in self.listener.messages if event == "execution_error"]
        if failed:
            raise RuntimeError(failed[0])
        ids = [data["node"] for event, data in self.listener.messages if event == "executing" and data["node"]]
        # A node that unfolds is announced twice, before and after.
        return Result.received, Counter(node.split("modes.0.0.")[1]
                                        for node in dict.fromkeys(ids) if "modes.0.0." in node)


class Given:
    """The values that the graph starts from."""

    RETURN_TYPES = ("MODEL", "VAE", "CONDITIONING", "CONDITIONING", "LATENT", "DMA_CLUSTERS", "CLIP", "IMAGE", "STRING")
    FUNCTION, CATEGORY, values = "give", "test", None

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def give(self):
        return Given.values


class Result:
    """Takes the three outputs of AlignModes."""

    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE, received = (), "take", "test", True, None

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"averages": ("IMAGE",), "sheet": ("IMAGE",), "latents": ("LATENT",)}}

    def take(self, averages, sheet, latents):
        Result.received = averages, sheet, latents["samples"]
        return ()


@pytest.fixture(scope="module")
def values(comfyui, tmp_path_factory):
    """Model, VAE, prompts, samples of three modes, their clusters, a CLIP, pictures, and overrides."""
    import comfy.sd
    from comfy.taesd.taesd import TAESD

    from mental_averages.dma.clustering import ClusterSettings, cluster

    kind = MODELS["SD1.5"]
    generator = torch.Generator().manual_seed(0)
    truth = torch.repeat_interleave(torch.arange(3), torch.tensor(SIZES))
    with torch.inference_mode():
        torch.manual_seed(0)
        vae = comfy.sd.VAE(sd=TAESD(latent_channels=4).state_dict())
        latents = (3 * torch.randn((3, 4, 8, 8), generator=generator)[truth]
                   + 0.1 * torch.randn((10, 4, 8, 8), generator=generator))
    clusters = cluster(latents.flatten(1).clone(), ClusterSettings(3, 3, dimensions=4))
    assert torch.equal(clusters.labels, truth)
    return (kind.build(), vae, kind.conditioning(1), kind.conditioning(2), {"samples": latents}, clusters,
            small_clip("SD1.5", tmp_path_factory.mktemp("none")), torch.rand(10, 64, 64, 3, generator=generator),
            "1: steps=3")


@pytest.fixture
def registered(values, folders, embeddings, monkeypatch):  # noqa: F811
    """ComfyUI with the nodes of this test's graphs."""
    import comfy_extras.nodes_images
    import comfy_extras.nodes_post_processing
    import comfy_extras.nodes_train
    import nodes

    from mental_averages.nodes import alignment, figures, hspace, modes, training

    classes = [alignment.AlignTrajectories, alignment.AlignMixtureModes, modes.AlignModes, figures.LabelledSheet,
               hspace.HSpaceHook, modes.SelectMode, training.TrainModeEmbedding, training.TrainModeLoRA,
               comfy_extras.nodes_images.ImageFromBatch, comfy_extras.nodes_post_processing.BatchImagesNode,
               comfy_extras.nodes_post_processing.BatchLatentsNode, comfy_extras.nodes_train.SaveLoRA]
    for node in classes:
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, node.GET_SCHEMA().node_id, node)
    monkeypatch.setattr(Given, "values", values)
    for name, node in (("Given", Given), ("Result", Result)):
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, name, node)
    return folders


def graph_of(adapter, **change):
    settings = dict(most_modes=8, count=3, steps=4, cfg=2.0, scheduler="normal", seed=1, preset="draft", overrides="",
                    images=["given", 7])
    links = {name: ["given", index]
             for index, name in enumerate(("model", "vae", "positive", "negative", "latents", "clusters"))}
    inputs = {**links, **adapter, **settings, **change}
    return {"given": {"class_type": "Given", "inputs": {}},
            "modes": {"class_type": "AlignModes",
                      "inputs": {name: value for name, value in inputs.items() if value is not None}},
            "out": {"class_type": "Result",
                    "inputs": {"averages": ["modes", 0], "sheet": ["modes", 1], "latents": ["modes", 2]}}}


def modes_run(ran, part):
    """The modes whose node of a name has run."""
    return [mode for mode in range(len(SIZES)) if ran[f"mode_{mode}_{part}"]]


def read(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "embeddings").iterdir())}


@pytest.mark.parametrize("cache", ["CLASSIC", "RAM_PRESSURE"])
@pytest.mark.parametrize("adapter", [LORA, EMBEDDING], ids=["lora", "embedding"])
def test_a_change_of_one_mode_leaves_the_others_as_they_are(registered, cache, adapter):
    comfy = Comfy(cache)
    first, ran = comfy.queue(graph_of(adapter))
    assert modes_run(ran, "adapter") == modes_run(ran, "average") == [0, 1, 2] and set(ran.values()) == {1}
    averages, sheet, latents = first
    assert averages.shape == (3, 64, 64, 3) and latents.shape == (3, 4, 8, 8) and sheet.shape[0] == 1
    assert not torch.equal(latents[0], latents[1]) and not torch.equal(latents[1], latents[2])

    again, ran = comfy.queue(graph_of(adapter))
    assert not ran
    written = read(registered)
    assert list(written) == ([] if adapter is LORA else [f"mode_{mode}.safetensors" for mode in range(3)])
    second, ran = comfy.queue(graph_of(adapter, overrides="1: steps=3"))
    assert modes_run(ran, "adapter") == modes_run(ran, "average") == modes_run(ran, "picture") == [1]
    assert modes_run(ran, "samples") == []
    assert [torch.equal(*pair) for pair in zip(first[2], second[2])] == [True, False, True]
    assert [name for name, content in read(registered).items()
            if content != written[name]] == ([] if adapter is LORA else ["mode_1.safetensors"])
    third, ran = comfy.queue(graph_of(adapter, overrides="1: steps=3\n2: cfg=4"))
    assert modes_run(ran, "adapter") == [] and modes_run(ran, "average") == [2]
    assert [torch.equal(*pair) for pair in zip(second[2], third[2])] == [True, True, False]
    _, ran = comfy.queue(graph_of(adapter, overrides="1: steps=3", most_modes=2))
    assert modes_run(ran, "adapter") == modes_run(ran, "average") == []
    _, ran = comfy.queue(graph_of(adapter, cfg=2.5))
    # The classic cache has dropped what the last graph did not use.
    assert (modes_run(ran, "adapter") == ([1, 2] if cache == "CLASSIC" else [])
            and modes_run(ran, "average") == [0, 1, 2])


def refused(comfy, graph):
    """The message of a graph that AlignModes refuses, before any other node has run."""
    with pytest.raises(RuntimeError) as error:
        comfy.queue(graph)
    ids = {data["node"] for event, data in comfy.listener.messages if event == "executing" and data["node"]}
    assert ids <= {"given", "modes"}
    return str(error.value)


def test_files_are_replaced_by_the_node_that_wrote_them_alone(registered):
    comfy, steps = Comfy("CLASSIC"), {**EMBEDDING, "adapter.steps": 1}
    (registered / "embeddings" / "mode_2.safetensors").write_bytes(b"somebody's work")
    assert "There is an embedding 'mode_2' already" in refused(comfy, graph_of(EMBEDDING))
    assert read(registered) == {"mode_2.safetensors": b"somebody's work"}
    comfy.queue(graph_of(EMBEDDING, most_modes=2))
    written = read(registered)
    for adapter, change in ((steps, dict(most_modes=3)), ({**EMBEDDING, "adapter.template": "the {}"}, {}),
                            ({**EMBEDDING, "adapter.initial_text": "red"}, {})):
        assert "already" in refused(comfy, graph_of(adapter, **{"most_modes": 2, **change}))
    for change in ({"adapter.learning_rate": 2e-2}, {"adapter.steps": 1}):
        another = graph_of({**EMBEDDING, **change}, most_modes=2)
        another["others"] = another.pop("modes")
        another["out"]["inputs"] = {name: ["others", link[1]] for name, link in another["out"]["inputs"].items()}
        with pytest.raises(RuntimeError, match="There is an embedding 'mode_0' already"):
            comfy.queue(another)
    assert read(registered) == written
    comfy.queue(graph_of(steps, most_modes=2))
    changed = read(registered)
    assert all((changed[f"mode_{mode}.safetensors"] == written[f"mode_{mode}.safetensors"]) == (mode == 2)
               for mode in range(3))
    comfy.queue(graph_of({**EMBEDDING, "adapter.overwrite": True}))
    assert read(registered)["mode_2.safetensors"] != b"somebody's work"


def test_names_that_are_links_to_one_file(registered):
    (registered / "embeddings" / "mode_2.safetensors").symlink_to(registered / "embeddings" / "mode_0.safetensors")
    assert ("in one file, because there are links of the names mode_0, mode_1, mode_2"
            in refused(Comfy("CLASSIC"), graph_of(EMBEDDING)))


def test_the_graph_is_checked_when_it_is_queued(registered):
    import execution

    def errors(adapter=LORA, **change):
        valid, _, _, found = asyncio.run(execution.validate_prompt("id", graph_of(adapter, **change), None))
        return [] if valid else [error["details"] for node in found.values() for error in node["errors"]]

    assert (errors() == errors(EMBEDDING) == errors(NONE, images=None)
            == errors({**LORA, "adapter.target": "all linear and conv"}) == [])
    assert errors({**EMBEDDING, "adapter.clip": ["given", 0]}), "a MODEL is no CLIP"
    assert any("'few' is not a whole number for rank" in text for text in errors(overrides="1: rank=few"))
    assert errors(cfg=-1.0) and errors(most_modes=21) and errors({**LORA, "adapter.rank": 1025})
    assert errors(overrides=["given", 8]) == [], "what is linked is checked when it is known"


def test_without_an_adapter_each_mode_has_an_average_of_its_own(registered):
    comfy = Comfy("CLASSIC")
    (averages, _, latents), ran = comfy.queue(graph_of(NONE, images=None))
    assert modes_run(ran, "adapter") == [] and modes_run(ran, "average") == [0, 1, 2] and len(averages) == 3
    assert len(torch.unique(latents.flatten(1), dim=0)) == 3
    _, ran = comfy.queue(graph_of(NONE, images=None, overrides="0: seed=5"))
    assert modes_run(ran, "average") == [0]


def test_saved_adapters(registered):
    comfy = Comfy("CLASSIC")
    comfy.queue(graph_of({**LORA, "adapter.save_as": "loras/concept"}, most_modes=2))
    written = sorted(path.name for path in (registered / "output" / "loras").iterdir())
    assert written == ["concept_mode_0_00001_.safetensors", "concept_mode_1_00001_.safetensors"]


def test_the_layers_that_a_lora_changes(values, registered):
    targets = {adapter.get("adapter.target"): {node["inputs"]["target"]
                                               for node in unfolded(values, adapter).expand.values()
                                               if node["class_type"] == "TrainModeLoRA"}
               for adapter in (LORA, {**LORA, "adapter.target": "all linear and conv"})}
    assert targets == {None: {"attention"}, "all linear and conv": {"all linear and conv"}}


def unfolded(values, adapter, links=None, **change):
    """The graph that the node unfolds into, and the links to its outputs."""
    from comfy_execution.graph import DynamicPrompt
    from comfy_execution.graph_utils import GraphBuilder

    from mental_averages.nodes.modes import AlignModes

    graph = graph_of(adapter, **change)
    chosen = {name.partition(".")[2] or name: values[value[1]] if isinstance(value, list) else value
              for name, value in adapter.items()}
    inputs = {name: values[value[1]] if isinstance(value, list) else value
              for name, value in graph["modes"]["inputs"].items()
              if not name.startswith("adapter")}
    GraphBuilder.set_default_prefix("modes", 0, 0)
    node = AlignModes.PREPARE_CLASS_CLONE({"hidden_inputs": {}})
    node.hidden.dynprompt, node.hidden.unique_id = DynamicPrompt(graph), "modes"
    return node.execute(**inputs, adapter=chosen)


@pytest.mark.parametrize("adapter", [LORA, EMBEDDING, NONE], ids=["lora", "embedding", "none"])
def test_every_node_of_the_unfolded_graph_has_the_inputs_of_its_schema(values, registered, adapter):
    import nodes
    from comfy_api.latest._io import get_finalized_class_inputs

    found = unfolded(values, {**adapter, **({"adapter.save_as": "x"} if adapter is LORA else {})})
    graph = found.expand
    assert all(link[0] in graph for link in found.result) and all(name.startswith("modes.0.0.") for name in graph)
    for name, node in graph.items():
        kinds = nodes.NODE_CLASS_MAPPINGS[node["class_type"]].INPUT_TYPES()
        known = (get_finalized_class_inputs(kinds, node["inputs"])[0]
                 if hasattr(nodes.NODE_CLASS_MAPPINGS[node["class_type"]], "GET_SCHEMA") else kinds)
        missing = known["required"].keys() - node["inputs"].keys()
        unknown = node["inputs"].keys() - known["required"].keys() - known.get("optional", {}).keys()
        assert not missing and not unknown, (name, missing, unknown)
        for value in node["inputs"].values():
            if isinstance(value, list):
                assert value[0] == "given" or value[0] in graph
    # A mode's nodes hang on their own mode alone.
    for name, node in graph.items():
        if "mode_1_" in name:
            assert all(value[0] == "given" or "mode_1_" in value[0]
                       for value in node["inputs"].values() if isinstance(value, list))


@pytest.mark.parametrize("text, message", [
    ("steps=5", "mode's number and a colon"), ("first: steps=5", "mode's number and a colon"),
    ("0: size=5", "cannot change 'size'"),
    ("0: steps=five", "'five' is not a whole number for steps"), ("0: steps=1.5", "whole number"),
    ("0: steps", "not a whole number"),
    ("0: steps=1\n0: rank=2", "two lines"), ("0: steps=0", "steps is 0 .*from 1 to 100000"),
    ("0: cfg=nan", "cfg is nan .*from 0.0 to 100.0"),
    ("0: cfg=100.5", "to 100.0"), ("0: learning_rate=inf", "to 1.0"), ("0: learning_rate=0", "from 1e-07"),
    ("0: seed=-1", "from 0"),
    ("3: seed=18446744073709551616", "to 18446744073709551615"), ("0: vectors=17", "to 16"),
    ("0: rank=1025", "to 1024"), ("0: count=100001", "to 100000")])
def test_overrides_that_say_nothing_clear_are_refused_before_the_graph_runs(comfyui, text, message):
    from mental_averages.nodes.modes import AlignModes, parse_overrides

    assert re.search(message, AlignModes.validate_inputs(text))
    with pytest.raises(ValueError, match=message):
        parse_overrides(text)


def test_overrides(comfyui):
    from mental_averages.nodes.modes import AlignModes, parse_overrides

    text = "\n 1: steps=500, learning_rate=1e-3 \n0:cfg=0\n2:\n"
    assert parse_overrides(text) == {1: {"steps": 500, "learning_rate": 1e-3}, 0: {"cfg": 0.0}, 2: {}}
    assert AlignModes.validate_inputs(text) is True and AlignModes.validate_inputs("") is True
    assert AlignModes.validate_inputs(
        None) is True and AlignModes.validate_inputs() is True, "ComfyUI gives None for a linked input"


@pytest.mark.parametrize("adapter, change, message", [
    ({"adapter": "dreambooth"}, {}, "no adapter 'dreambooth': choose one of none, lora, embedding"),
    (LORA, dict(overrides="3: steps=5"), "mode 3, but 3 modes are averaged"),
    (LORA, dict(overrides="1: steps=5", most_modes=1), "mode 1, but 1"),
    (NONE, dict(overrides="1: steps=5"), "steps, which has no effect with the adapter 'none'"),
    (NONE, dict(overrides="1: count=5"), "count, which"),
    (LORA, dict(overrides="1: vectors=5"), "vectors, which has no effect with the adapter 'lora'"),
    (LORA, dict(latents=["few", 0]), "latents holds 4"), (LORA, dict(images=["few", 1]), "images holds 4"),
    (LORA, dict(positive=["few", 2]), "positive conditioning is empty"),
    (LORA, dict(layer="blocks.77"), "no layer 'blocks.77'"),
    (LORA, dict(latents=["few", 3]), r"Latent 9 of 10 is empty"),
    (LORA, dict(overrides="2: rank=1000"), "rank is 1000, but the layer"),
    ({**LORA, "adapter.target": "everything"}, {}, "no target 'everything': choose one of attention"),
    ({**LORA, "adapter.rank": 0}, {}, "rank is 0 for mode 0"),
    ({**LORA, "adapter.learning_rate": 2.0}, {}, "learning_rate is 2.0 for mode 0"),
    ({**LORA, "adapter.save_as": "../loras/x"}, {}, "save_as is '../loras/x', which is no place"),
    ({**LORA, "adapter.save_as": "/tmp/x"}, {}, "save_as is"),
    (LORA, dict(seed=2**64), "seed is 18446744073709551616 for mode 0"), (LORA, dict(cfg=-1.0), "cfg is -1.0"),
    (LORA, dict(count=0), "count is 0"),
    (LORA, dict(steps=1), "steps is 1"), (LORA, dict(most_modes=0), "most_modes is 0"),
    (NONE, dict(most_modes=21), "most_modes is 21"),
    ({**EMBEDDING, "adapter.name": "../mode"}, {}, r"'../mode_0' cannot be the name"),
    ({**EMBEDDING, "adapter.name": "my mode"}, {}, "cannot be the name"),
    ({**EMBEDDING, "adapter.initial_text": " "}, {}, "initial text is empty"),
    ({**EMBEDDING, "adapter.template": "a photo"}, {}, "has 0 placeholders"),
    ({**EMBEDDING, "adapter.template": "{}s"}, {}, "would not be read as an embedding"),
    ({**EMBEDDING, "adapter.vectors": 17}, {}, "vectors is 17 for mode 0")])
def test_bad_input_is_refused_before_anything_unfolds(values, registered, adapter, change, message):
    black = {"samples": torch.cat([values[4]["samples"][:9], torch.zeros(1, 4, 8, 8)])}
    few = ({"samples": torch.ones(4, 4, 8, 8)}, torch.rand(4, 8, 8, 3), [], black)
    given = [*values, *few]
    change = {name: ["few", len(values) + value[1]] if isinstance(value, list) else value
              for name, value in change.items()}
    with pytest.raises(ValueError, match=message):
        unfolded(given, adapter, **change)


def test_a_mode_of_one_sample_needs_an_adapter(values, registered):
    from mental_averages.dma.clustering import ClusterSettings, cluster

    clusters = cluster(torch.tensor([[0.0], [0.1], [5.0]]), ClusterSettings(2, 2, minimum_size=1))
    given = [*values[:4], {"samples": torch.ones(3, 4, 8, 8)}, clusters, *values[6:]]
    with pytest.raises(ValueError, match="Mode 1 has a single sample"):
        unfolded(given, NONE, images=None)
    assert unfolded(given, LORA, images=None).expand and unfolded(given, NONE, images=None, most_modes=1).expand
