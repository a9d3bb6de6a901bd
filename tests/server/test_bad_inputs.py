"""What a user sees who asks for something that makes no sense."""
import graphs
import numpy as np
import pytest

import comfy_server


def load_report(path):
    return {"load": graphs.node("LoadReport", path=path),
            "plot": graphs.node("PlotReport", report=["load", 0], width=256),
            "picture": graphs.node("SaveImage", images=["plot", 0], filename_prefix="plot")}


def assert_refused(server, graph, node_id, sentence):
    with pytest.raises(comfy_server.PromptError) as refusal:
        graphs.run(server, graph)
    assert not isinstance(refusal.value, comfy_server.PromptInterrupted)
    assert (refusal.value.node_id, refusal.value.node_type) == (node_id, graph[node_id]["class_type"])
    assert sentence in refusal.value.message


@pytest.mark.parametrize("settings, node_id, sentence", [
    (dict(aligned_steps=30), "sample", "aligned_steps is 30, but there are only"),
    (dict(layer="input_blocks.11"), "hspace", "This model has no layer 'input_blocks.11'. Its layers are: "),
], ids=["more aligned steps than steps", "a layer that the model does not have"])
def test_senseless_settings_are_explained_and_the_server_goes_on(server, checkpoint, settings, node_id, sentence):
    before = graphs.run(server, graphs.plain_picture(checkpoint))
    assert_refused(server, graphs.mental_average(checkpoint, **settings), node_id, sentence)

    after = graphs.run(server, graphs.plain_picture(checkpoint))
    assert "sample" not in after.cached
    assert np.array_equal(before.pixels(), after.pixels())


@pytest.mark.parametrize("name, kind, value, sentence", [
    ("count", "PrimitiveInt", 0, "count is 0: choose a number from 1 to 100000"),
    ("steps", "PrimitiveInt", 0, "steps is 0: choose a number from 1 to 1000"),
    ("batch_size", "PrimitiveInt", -2, "batch_size is -2: choose a number from 0"),
    ("iterations", "PrimitiveInt", -1, "iterations is -1: choose a number from 0")])
def test_numbers_that_come_over_a_link_are_checked_too(server, checkpoint, name, kind, value, sentence):
    graph = {"number": graphs.node(kind, value=value), **graphs.mental_average(checkpoint, **{name: ["number", 0]})}
    assert_refused(server, graph, "sample", sentence)


def test_nan_is_no_number(server, checkpoint):
    assert_refused(server, graphs.mental_average(checkpoint, cfg=float("nan")), "sample", "cfg is nan: choose a number")


def test_a_choice_that_there_is_not(server, checkpoint):
    graph = {**graphs.conditioned(checkpoint), "sample": graphs.node("MixingWeights", inputs=2, mode="nonsense"),
             "text": graphs.node("PreviewAny", source=["sample", 0])}
    for unused in ("decode", "picture"):
        graph.pop(unused)
    assert_refused(server, graph, "sample", "mode has no choice that this node knows")


def test_reports_outside_comfyui_s_folders_are_not_read(server, base, checkpoint):
    """The same file is read once it lies in the output folder, so its place is all that is wrong with it."""
    graphs.run(server, graphs.mental_average(checkpoint, count=2, iterations=1, seed=31, prefix="report_here"))
    inside, = server.output_directory.glob("report_here*.json")
    outside = base / "outside.json"
    outside.write_bytes(inside.read_bytes())
    for path in ("../outside.json", str(outside)):
        assert_refused(server, load_report(path), "load", f"There is no file {path!r} in ComfyUI's output or input")

    plot, = graphs.run(server, load_report(inside.name)).pictures
    assert graphs.pixels(plot).shape[1] == 256
