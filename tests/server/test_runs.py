"""Whole graphs on a real ComfyUI, over its API and its websocket."""
import asyncio
import contextlib
import io
import json
import struct

import graphs
import numpy as np
import pytest
from PIL import Image

import quickstart
import workspace

JPEG_PREVIEW = (1, 1)  # ComfyUI's numbers for a preview and for its picture format


def test_server_offers_every_node_of_the_pack_and_no_other(server, comfyui):
    """ComfyUI's own list, read back from the server, against that of the extension."""
    from mental_averages.nodes.extension import MentalAverages

    own = {node.GET_SCHEMA().node_id for node in asyncio.run(MentalAverages().get_node_list())}
    offered = server.get("/object_info", timeout=120)
    ours = {name for name, described in offered.items()
            if described["python_module"] == f"custom_nodes.{workspace.PACK_NAME}"}
    assert ours == own, server.log(30)
    for name in own:
        assert offered[name]["name"] == name and offered[name]["category"] and offered[name]["display_name"]


def test_average_reports_its_progress_and_saves_its_picture_and_report(server, checkpoint):
    graph = graphs.mental_average(checkpoint, prefix="whole_run")
    workflow = {"nodes": [], "links": [], "extra": {"title": "a mental average"}}
    run = graphs.run(server, graph, workflow)

    assert len(run.progress) >= 4
    assert run.progress == sorted(run.progress)
    assert run.progress[0] < 0.2 and run.progress[-1] == 1.0

    assert run.previews
    for preview in run.previews:
        assert struct.unpack(">II", preview[:8]) == JPEG_PREVIEW
    with Image.open(io.BytesIO(run.previews[-1][8:])) as picture:
        picture.load()
        assert picture.format == "JPEG"

    picture, = run.pictures
    assert run.pixels().shape == (64, 64, 3)
    assert run.pixels().std() > 5  # not one grey area
    with Image.open(picture) as image:
        assert json.loads(image.text["prompt"]) == graph
        assert json.loads(image.text["workflow"]) == workflow

    report = run.report(server)
    assert report["format"] == "mental-averages/alignment-report"
    assert report["settings"]["count"] == 4
    assert [step["iterations"] for step in report["steps"]] == [[10] * 4] * 2
    for step in report["steps"]:
        assert sum(step["residual_after"]) < sum(step["residual_before"])


def test_two_prompts_queued_at_once_finish_with_results_of_their_own(server, checkpoint):
    first, second = (server.queue(graphs.mental_average(checkpoint, prompt, seed=seed, prefix=f"queued_{seed}"))
                     for prompt, seed in (("red heart", 11), ("cat face", 12)))
    queue = server.get("/queue")
    assert {first, second} <= {item[1] for item in queue["queue_running"] + queue["queue_pending"]}

    runs = {11: graphs.finish(server, first), 12: graphs.finish(server, second)}
    for seed, prompt_id in ((11, first), (12, second)):
        run = runs[seed]
        assert {message["data"]["prompt_id"] for message in run.messages} == {prompt_id}
        assert run.progress[-1] == 1.0
        assert run.report(server)["settings"]["seed"] == seed
        picture, = run.pictures
        assert picture.name.startswith(f"queued_{seed}_")
    assert not np.array_equal(runs[11].pixels(), runs[12].pixels())


def test_template_runs_headless_and_writes_its_pictures(server, checkpoint):
    graph = json.loads(quickstart.GRAPH.read_text(encoding="utf-8"))
    quickstart.edit(graph, checkpoint=checkpoint, count=2)
    small = {"AlignTrajectories": {"preset.keep": 2}, "EmptyLatentImage": {"batch_size": 2}}
    for node in graph.values():
        node["inputs"].update(small.get(node["class_type"], {}))
    assert [node["_meta"]["title"] for node in graph.values() if node["class_type"].startswith("Save")] == [
        "Save the average"]
    shown = {node_id for node_id, node in graph.items() if node["class_type"] in ("SaveImage", "PreviewImage")}
    quickstart.name_pictures(graph)
    run = graphs.run(server, graph)

    for node_id in shown:
        assert run.entry["outputs"][node_id]["images"], graph[node_id]["_meta"]["title"]
    assert len(run.pictures) == 6  # the sheet, the report's plot, the average by mean shift twice, both of alignment's
    assert {path.name.rpartition("_0")[0] for path in run.pictures} == {
        "butterfly_sheet", "butterfly_report", "butterfly_mental_average", "butterfly_average_by_mean_shift",
        "butterfly_aligned_average"}
    for number, path in enumerate(run.pictures):
        assert run.pixels(number).std() > 5, path.name


def test_the_page_of_a_changed_template_holds_the_changes(server, checkpoint):
    """The address of a template opens it with the demo's checkpoint and size, whatever was asked for."""
    import page_workflow

    graph = json.loads(quickstart.GRAPH.read_text(encoding="utf-8"))
    quickstart.edit(graph, checkpoint=checkpoint, prompt="a castle", count=3, seed=7, size=1024,
                    guidance=quickstart.OWN_GUIDANCE, cell=quickstart.OWN_CELL)
    assert {node["inputs"]["cell"] for node in graph.values() if "cell" in node["inputs"]} == {quickstart.OWN_CELL}
    assert {node["inputs"]["cfg"] for node in graph.values() if "cfg" in node["inputs"]} == {quickstart.OWN_GUIDANCE}
    assert {node["inputs"]["width"] for node in graph.values() if "width" in node["inputs"]
            and node["class_type"] != "PlotReport"} == {1024}, "nothing is enlarged or reduced after it is drawn"
    quickstart.save_page(server, graph)
    page = server.get(f"/userdata/workflows%2F{quickstart.WORKFLOW}.json")
    page = page if isinstance(page, dict) else json.loads(page)
    assert page_workflow.differences(graph, page, server.get("/object_info")) == []


def test_a_checkpoint_of_ones_own_gets_what_suits_it(tmp_path, monkeypatch):
    """Guidance, the model's size, which nothing enlarges, and larger cells: the template suits the demo model."""
    import checkpoint_header
    import pack

    graphs_made = []
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.setattr(quickstart.environments, "prepare", lambda say: None)
    monkeypatch.setattr(workspace, "default_base", lambda: tmp_path / "base")
    monkeypatch.setattr(quickstart.comfy_server, "start", lambda *arguments: contextlib.nullcontext())
    monkeypatch.setattr(quickstart, "_make", lambda server, graph, out: graphs_made.append(graph) or [])
    assert quickstart.main(["--checkpoint", str(pack.demo_checkpoint()), "--out", str(tmp_path / "out")]) == 0
    (graph,) = graphs_made
    inputs = {node["class_type"]: node["inputs"] for node in graph.values()}
    assert (tmp_path / "base" / "models" / "checkpoints" / inputs["CheckpointLoaderSimple"]["ckpt_name"]).is_file()
    size = checkpoint_header.DEFAULT_SIZE
    assert inputs["EmptyLatentImage"] == {**inputs["EmptyLatentImage"], "width": size, "height": size}
    assert inputs["ImageScale"]["width"] == size
    assert {each["cfg"] for each in inputs.values() if "cfg" in each} == {quickstart.OWN_GUIDANCE}
    assert inputs["LabelledSheet"]["cell"] == quickstart.OWN_CELL


@pytest.mark.parametrize("name, seeds", [
    ("01_mental_average_beside_other_averages", {"seed"}), ("19_change_what_a_picture_shows", {"method.seed"})])
def test_a_seed_reaches_every_input_that_is_one(name, seeds):
    graph = json.loads((quickstart.GRAPH.parent / f"{name}.json").read_text(encoding="utf-8"))
    before = json.loads(json.dumps(graph))
    quickstart.edit(graph, seed=7)
    changed = {(key, place) for key, node in graph.items() for place, value in node["inputs"].items()
               if value != before[key]["inputs"][place]}
    assert {place for _, place in changed} == seeds
    assert all(graph[key]["inputs"][place] == 7 for key, place in changed)


def test_a_graph_that_ends_in_saved_features_runs(server, checkpoint):
    graph = {name: node for name, node in graphs.conditioned(checkpoint).items() if name not in ("decode", "picture")}
    graph["hspace"] = graphs.node("HSpaceHook", model=["checkpoint", 0], layer="auto", pooling="mean")
    graph["capture"] = graphs.node("CaptureHSpace", hspace=["hspace", 0], positive=["positive", 0], latent=["size", 0],
                                   percent=0.5, seed=0, save_as="features_alone")
    entry = graphs.run(server, graph).entry
    assert entry["outputs"]["capture"]["text"] == ["Saved features_alone_00001_.safetensors"]
    assert (server.output_directory / "features_alone_00001_.safetensors").is_file()
