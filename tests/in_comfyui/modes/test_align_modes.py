"""AlignModes unfolded and executed by ComfyUI's own executor, on a small model."""
import asyncio

import pytest
import torch
from queued_graphs import EMBEDDING, LORA, NONE, SIZES, Comfy, Result, graph_of, unfolded


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


def test_files_without_metadata_are_replaced_by_the_node_that_wrote_them(registered, monkeypatch):
    import comfy.cli_args
    from safetensors import safe_open

    monkeypatch.setattr(comfy.cli_args.args, "disable_metadata", True)
    comfy = Comfy("CLASSIC")
    comfy.queue(graph_of(EMBEDDING, most_modes=1))
    written = read(registered)
    with safe_open(registered / "embeddings" / "mode_0.safetensors", framework="pt") as file:
        assert file.metadata().keys() == {"format", "origin"}
    comfy.queue(graph_of({**EMBEDDING, "adapter.steps": 1}, most_modes=1))
    assert read(registered).keys() == written.keys() and read(registered) != written


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


class Several:
    """A list of two models, and one of two seeds."""

    RETURN_TYPES, OUTPUT_IS_LIST, FUNCTION, CATEGORY, models = ("MODEL", "INT"), (True, True), "give", "test", ()

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def give(self):
        return list(Several.models), [1, 2]


@pytest.mark.parametrize("changed", [False, True], ids=["the list itself", "a node on the way"])
def test_a_list_of_models_is_refused_before_any_mode_is_averaged(values, registered, monkeypatch, changed):
    """Each model's modes would be averaged by every model."""
    import nodes

    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "Several", Several)
    monkeypatch.setattr(Several, "models", [values[0], values[0].clone()])
    graph = {**graph_of(NONE, model=["changed" if changed else "several", 0]),
             "several": {"class_type": "Several", "inputs": {}},
             "changed": {"class_type": "ModelPass", "inputs": {"model": ["several", 0]}}}

    class ModelPass:
        RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL",), "hand_on", "test"

        @classmethod
        def INPUT_TYPES(cls):
            return {"required": {"model": ("MODEL",)}}

        def hand_on(self, model):
            return (model,)

    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "ModelPass", ModelPass)
    comfy = Comfy("CLASSIC")
    with pytest.raises(RuntimeError, match="AlignModes takes one of model, but a list is connected: connect one"):
        comfy.queue(graph)
    ids = {data["node"] for event, data in comfy.listener.messages if event == "executing" and data["node"]}
    assert ids <= {"given", "several", "changed", "modes"}


def test_each_seed_of_a_list_has_its_averages(registered, monkeypatch):
    import nodes

    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "Several", Several)
    received, take = [], Result.take
    monkeypatch.setattr(Result, "take", lambda self, **given: received.append(given["latents"]["samples"])
                        or take(self, **given))
    comfy = Comfy("CLASSIC")
    for seed in (["several", 1], 1, 2):
        comfy.queue({**graph_of(NONE, seed=seed), "several": {"class_type": "Several", "inputs": {}}})
    first, second, *alone = received
    assert torch.equal(first, alone[0]) and torch.equal(second, alone[1]) and not torch.equal(first, second)


def test_saved_adapters(registered):
    comfy = Comfy("CLASSIC")
    comfy.queue(graph_of({**LORA, "adapter.save_as": "loras/concept"}, most_modes=2))
    written = sorted(path.name for path in (registered / "output" / "loras").iterdir())
    assert written == ["concept_mode_0_00001_.safetensors", "concept_mode_1_00001_.safetensors"]


@pytest.mark.parametrize("adapter, change, message", [
    ({"adapter": "dreambooth"}, {}, "no adapter 'dreambooth': choose one of lora, embedding, none"),
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
    ({**LORA, "adapter.target": "everything"}, {}, "no adapter.target 'everything': choose one of attention"),
    ({**LORA, "adapter.rank": 0}, {}, "adapter.rank is 0: choose a number from 1"),
    ({**LORA, "adapter.learning_rate": 2.0}, {}, "adapter.learning_rate is 2.0: choose"),
    ({**LORA, "adapter.save_as": "../loras/x"}, {}, "save_as is '../loras/x', which is no place"),
    ({**LORA, "adapter.save_as": "/tmp/x"}, {}, "save_as is"),
    (LORA, dict(seed=2**64), "seed is 18446744073709551616: choose"), (LORA, dict(cfg=-1.0), "cfg is -1.0"),
    (LORA, dict(count=0), "count is 0"),
    (LORA, dict(steps=1), "steps is 1"), (LORA, dict(most_modes=0), "most_modes is 0"),
    (NONE, dict(most_modes=21), "most_modes is 21"),
    ({**EMBEDDING, "adapter.name": "../mode"}, {}, r"'../mode_0' cannot be the name"),
    ({**EMBEDDING, "adapter.name": "my mode"}, {}, "cannot be the name"),
    ({**EMBEDDING, "adapter.initial_text": " "}, {}, "initial text is empty"),
    ({**EMBEDDING, "adapter.template": "a photo"}, {}, "has 0 placeholders"),
    ({**EMBEDDING, "adapter.template": r"\({}\)"}, {}, "would not be read as an embedding"),
    ({**EMBEDDING, "adapter.vectors": 17}, {}, "adapter.vectors is 17: choose")])
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
