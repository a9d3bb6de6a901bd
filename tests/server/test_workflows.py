"""The example workflows in API form on a real ComfyUI, with fewer pictures and steps, and their page forms beside
them."""
import json
import logging
import sys

import graphs
import pytest
from encoder_folders import write_blip
from PIL import Image

import pack
import page_workflow
import workspace

sys.path.insert(0, str(pack.ROOT / "demo"))
import clip_model

NAMES = sorted(path.stem for path in (page_workflow.FOLDER / "api").glob("*.json"))
PICTURES = 6
SMALLER = {"batch_size": PICTURES, "steps": 4, "subsets": 2, "restarts": 2, "mode.steps": 2, "mode.size": 2,
           "mode.counts": "2, 4, 6", "method.iterations": 3, "components.largest": 2, "minimum_size": 1,
           "count": PICTURES, "aligned_steps": 1, "averaged_steps": 2, "adapter.steps": 2, "samples": 4,
           "preset": "draft", "noises": 4, "iterations": 4, "false_positive_rate": 0.15}


# As long as the folder that it fills: a process that helps others may come back to this module.
@pytest.fixture(scope="session")
def encoders(base):
    """The demo CLIP, and a BLIP of random weights, under the names that the workflows ask for; the second checkpoint.
    """
    logging.getLogger("transformers").setLevel(logging.ERROR)
    folder = base / "models" / "image_encoders"
    clip_model.write_folder(folder / "demo_clip", *clip_model.unpack())
    write_blip(folder / "blip-vqa-base")
    workspace.add_checkpoint(base, pack.demo_transformer())


def smaller(name: str, checkpoint: str) -> dict:
    """A workflow of this pack in the size of a test."""
    graph = page_workflow.read_api(name)
    for node in graph.values():
        inputs = node["inputs"]
        inputs.update({key: value for key, value in SMALLER.items() if not isinstance(inputs.get(key, []), list)
                       and (node["class_type"], key) != ("MeanShard", "count")})  # whose rows are those of the mean
        if node["class_type"] == "CheckpointLoaderSimple":
            inputs["ckpt_name"] = checkpoint
        if node["class_type"] == "EmptyLatentImage":
            inputs.update(width=64, height=64)
        if node["class_type"] == "MixingWeights" and inputs["mode"] == "first":
            inputs["inputs"] = PICTURES
        if node["class_type"] == "RebatchImages":
            inputs["batch_size"] = 1
    return graph


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("01")])
def test_workflow_ends_with_its_pictures(server, encoders, checkpoint, name):
    graph = smaller(name, checkpoint)
    run = graphs.run(server, graph)
    saving = [key for key, node in graph.items() if node["class_type"] == "SaveImage"]
    assert saving and all(run.entry["outputs"][key]["images"] for key in saving)
    assert all(graphs.pixels(path).std() > 5 for path in run.pictures)


@pytest.mark.parametrize("name", NAMES)
def test_page_form_queues_its_api_twin(server, name):
    described = server.get("/object_info", timeout=120)
    graph, page = page_workflow.read_api(name), page_workflow.read_page(name)
    assert page_workflow.differences(graph, page, described) == []
    again = page_workflow.page_from_api(graph, described, page_workflow.LAYOUTS[name], name)
    assert json.loads(json.dumps(again)) == page


def test_no_workflow_has_a_node_that_is_given_up(server):
    described = server.get("/object_info", timeout=120)
    assert {(name, node["class_type"]) for name in NAMES for node in page_workflow.read_api(name).values()
            if described[node["class_type"]].get("deprecated")} == set()


@pytest.mark.parametrize("name", NAMES)
def test_thumbnail_is_a_small_square(name):
    file = page_workflow.FOLDER / f"{name}.jpg"
    with Image.open(file) as picture:
        assert picture.size == (400, 400) and picture.format == "JPEG"
    assert file.stat().st_size <= 22_000


def test_every_file_of_a_template_belongs_to_one():
    assert {path.stem for path in page_workflow.FOLDER.glob("*.*")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_note_says_what_to_choose_where_the_demo_model_is_named(name):
    page = page_workflow.read_page(name)
    note, = (node["widgets_values"][0] for node in page["nodes"] if node["type"] == "MarkdownNote")
    api = (page_workflow.FOLDER / "api" / f"{name}.json").read_text(encoding="utf-8")
    assert ("Something red or orange?" in note) == ("mental_averages_demo" in api)
    assert note.startswith("## ") and note.count("## ") == 1


def test_pictures_that_templates_load_are_in_the_pack():
    loaded = {node["inputs"]["image"] for name in NAMES for node in page_workflow.read_api(name).values()
              if node["class_type"] == "LoadImage"}
    assert loaded == {path.name for path in (pack.ROOT / "demo" / "pictures").glob("*.png")}
