"""The graph that AlignModes unfolds into."""
import pytest
from queued_graphs import EMBEDDING, LORA, NONE, unfolded


def test_the_layers_that_a_lora_changes(values, registered):
    targets = {adapter.get("adapter.target"): {node["inputs"]["target"]
                                               for node in unfolded(values, adapter).expand.values()
                                               if node["class_type"] == "TrainModeLoRA"}
               for adapter in (LORA, {**LORA, "adapter.target": "all linear and conv"})}
    assert targets == {None: {"attention"}, "all linear and conv": {"all linear and conv"}}


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


def test_of_pictures_only_the_most_typical_are_held(values, registered):
    """SelectMode would hold all of a batch again for every mode."""
    found = unfolded(values, NONE)
    clusters, graph = next(value for value in values if hasattr(value, "members")), found.expand
    for mode, members in enumerate(clusters.members):
        row = graph[f"modes.0.0.mode_{mode}_row"]["inputs"]
        taken = [graph[link[0]] for name, link in row.items() if name != "images.image0"]
        assert {node["class_type"] for node in taken} == {"ImageFromBatch"}
        assert [node["inputs"]["batch_index"] for node in taken] == list(members[:5])
        assert all(node["inputs"]["length"] == 1 for node in taken)
    assert sum(node["class_type"] == "SelectMode" for node in graph.values()) == len(clusters.members)
