"""The pack's blueprints: ComfyUI serves them, its page lists them, and a workflow with one of them draws pictures."""
import json

import pytest

import blueprints
import measure_pages
import workspace

# What the page's node library lists, from the store of its state that keeps what nodes there are.
LISTED = """descriptions => {
    const root = [...document.querySelectorAll('*')].find(element => element.__vue_app__)
    const listed = root.__vue_app__.config.globalProperties.$pinia._s.get('nodeDef').visibleNodeDefs
    return Object.entries(descriptions).every(([name, description]) => listed.some(
        node => node.display_name === name && node.description === description))
}"""
# What a user types on the blueprint's own node, and the graph that the page would queue then.
QUEUED = """async ([workflow, values]) => {
    await app.loadGraphData(workflow)
    const host = app.graph.nodes.find(node => node.subgraph)
    for (const [name, value] of Object.entries(values)) {
        const widget = host.widgets.find(item => item.name === name)
        widget.value = value
        widget.callback?.(value)
    }
    return (await app.graphToPrompt()).output
}"""
TYPED = {"prompt": "cat face", "width": 64, "height": 64, "count": 6, "cfg": 2.5, "seed": 3}
SHORT = {"steps": 8, "averaged_steps": 2, "noises": 4, "iterations": 4}


@pytest.fixture(scope="module")
def page(server, browser):
    opened = measure_pages.open_page(browser, server.address)
    yield opened
    opened.close()


def with_a_checkpoint(name):
    """A workflow: the demo checkpoint, the blueprint, and a node that saves its first picture."""
    page = json.loads((blueprints.FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    host, = page["nodes"]
    loader = {"id": 2, "type": "CheckpointLoaderSimple", "pos": [-400, 0], "size": [300, 100], "flags": {}, "order": 0,
              "mode": 0, "inputs": [], "properties": {}, "widgets_values": [workspace.DEMO_CHECKPOINT],
              "outputs": [{"name": kind, "type": kind, "links": [place + 1]}
                          for place, kind in enumerate(("MODEL", "CLIP", "VAE"))]}
    saved = {"id": 3, "type": "SaveImage", "pos": [500, 0], "size": [300, 300], "flags": {}, "order": 2, "mode": 0,
             "inputs": [{"name": "images", "type": "IMAGE", "link": 4}], "outputs": [], "properties": {},
             "widgets_values": ["blueprint"]}
    for place, socket in enumerate(host["inputs"][:3]):
        socket["link"] = place + 1
    host["outputs"][0]["links"] = [4]
    page["nodes"] += [loader, saved]
    page["links"] = [*([place + 1, 2, place, host["id"], place, kind]
                       for place, kind in enumerate(("MODEL", "CLIP", "VAE"))), [4, host["id"], 0, 3, 0, "IMAGE"]]
    page["last_node_id"], page["last_link_id"] = 3, 4
    return page


@pytest.mark.parametrize("name", blueprints.BLUEPRINTS)
def test_a_blueprint_is_what_its_template_gives(server, name):
    described = server.get("/object_info", timeout=120)
    built = blueprints.build(name, blueprints.BLUEPRINTS[name], described)
    assert json.loads((blueprints.FOLDER / f"{name}.json").read_text(encoding="utf-8")) == json.loads(json.dumps(built))


def test_no_other_blueprint_lies_in_the_folder():
    assert {path.stem for path in blueprints.FOLDER.glob("*")} == set(blueprints.BLUEPRINTS)


def test_comfyui_serves_the_blueprints_and_its_page_lists_them(server, page):
    ours = {entry["name"] for entry in server.get("/global_subgraphs").values()
            if entry["info"]["node_pack"] == f"custom_nodes.{workspace.PACK_NAME}"}
    assert ours == set(blueprints.BLUEPRINTS)
    page.wait_for_function(LISTED, arg={name: held.description for name, held in blueprints.BLUEPRINTS.items()})


@pytest.mark.parametrize("name", blueprints.BLUEPRINTS)
def test_what_is_typed_on_a_blueprint_is_what_its_nodes_run_with(server, page, name):
    graph = page.evaluate(QUEUED, [with_a_checkpoint(name), TYPED])
    by_type = {node["class_type"]: node["inputs"] for node in graph.values()
               if node["_meta"]["title"] != "Negative prompt"}
    average = by_type["MentalAverage" if name == "Mental average" else "ModeTree"]
    assert by_type["CLIPTextEncode"]["text"] == TYPED["prompt"]
    assert {key: by_type["EmptyLatentImage"][key] for key in ("width", "height")} == {"width": 64, "height": 64}
    assert [average[key] for key in ("count", "cfg", "seed")] == [TYPED[key] for key in ("count", "cfg", "seed")]
    assert average["model"] == by_type["CLIPTextEncode"]["clip"][:1] + [0] == ["2", 0]

    for node in graph.values():
        node["inputs"].update({key: value for key, value in SHORT.items() if key in node["inputs"]})
    entry = server.wait(server.queue(graph))
    picture, = server.output_paths(entry)
    assert picture.name.startswith("blueprint")
