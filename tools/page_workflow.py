"""Write the workflows that ComfyUI's page opens from their API twins, so that the two stay in step.

    python tools/page_workflow.py                       # asks a ComfyUI that runs at its usual address
    python tools/page_workflow.py --object-info FILE    # uses a saved answer of its /object_info

`example_workflows/api/NAME.json` is edited by hand; `example_workflows/NAME.json` is written by this script from it
and from its layout in page_layouts/. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import re
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arranging import arrange, body_height
from console import Explained, run, say
from layout import NOTE, Layout
from page_layouts import LAYOUTS

PACK = Path(__file__).resolve().parents[1]
FOLDER = PACK / "example_workflows"
SERVER = "http://127.0.0.1:8188"
PACK_NAME, PACK_VERSION = "mental-averages", "0.1.0"
CORE_VERSION = "0.30.0"

# Where the page offers to download a checkpoint that is missing.
MODELS = {"v1-5-pruned-emaonly-fp16.safetensors": {
    "name": "v1-5-pruned-emaonly-fp16.safetensors", "directory": "checkpoints",
    "url": "https://huggingface.co/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/"
           "v1-5-pruned-emaonly-fp16.safetensors"}}
# What the quickstart makes. No ComfyUI has it otherwise, and no pack can bring a checkpoint or a picture to be loaded.
OF_THE_DEMO = re.compile(r"mental_averages_demo\w*(\.safetensors)?|demo_\w+\.png|demo_clip")
MISSING = ("**Something red or orange?** This opens with the pack's demo model, 64 pixels small. Choose your own files "
           "in those nodes, your model's own size{guidance}, or run `python "
           "tools/quickstart.py --serve` in a copy of the pack's repository, which brings them.")
OWN_GUIDANCE = " and its `cfg` (often 7)"
BRANCHING = "COMFY_DYNAMICCOMBO_V3"  # a choice that brings inputs of its own
MATCHING = "COMFY_MATCHTYPE_V3"  # takes the type of what is connected
SHOWN_TEXT = 180  # what the page adds to a PreviewAny
LONGEST_LINE = 240  # of the JSON that is written, where a value can be parted
WIDGET_TYPES = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", BRANCHING)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="page_workflow.py", description=__doc__.splitlines()[0])
    parser.add_argument("--object-info", metavar="FILE", type=Path, help="a saved answer of a server's /object_info")
    parser.add_argument("--server", metavar="URL", default=SERVER, help="a running ComfyUI (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page differs from its API twin")
    options = parser.parse_args(arguments)
    object_info = _read_object_info(options.object_info, options.server)
    different = []
    for name, layout in LAYOUTS.items():
        graph = read_api(name)
        if not options.check:
            text = compact(page_from_api(graph, object_info, layout, name))
            (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")
            say(str(FOLDER / f"{name}.json"))
        different += [f"{name}: {line}" for line in differences(graph, read_page(name), object_info)]
    if different:
        raise Explained("These places of a page do not agree with its API twin:\n" + "\n".join(different))
    return 0


def read_api(name: str) -> dict[str, Any]:
    """The API form of a workflow of this pack."""
    return json.loads((FOLDER / "api" / f"{name}.json").read_text(encoding="utf-8"))


def read_page(name: str) -> dict[str, Any]:
    """The page form of a workflow of this pack."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def page_from_api(graph: dict[str, Any], object_info: dict[str, Any], layout: Layout, name: str) -> dict[str, Any]:
    """The page form of a graph in API format, laid out as told. `name` gives the workflow its permanent id."""
    nodes, links = page_nodes(graph, object_info)
    note_id = max(int(key) for key in graph) + 1
    nodes[NOTE] = {"id": note_id, "type": "MarkdownNote", "pos": [0, 0], "size": [0, 0], "flags": {}, "order": 0,
                   "mode": 0, "inputs": [], "outputs": [], "title": "Read me", "properties": {},
                   "widgets_values": [note_of(graph, layout)], "color": "#222", "bgcolor": "#000"}
    groups = arrange(nodes, layout)
    for order, key in enumerate([NOTE, *_in_order(graph)]):
        nodes[key]["order"] = order
    return {"id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PACK_NAME}/{name}")), "revision": 0, "last_node_id": note_id,
            "last_link_id": len(links), "nodes": sorted(nodes.values(), key=lambda node: node["id"]), "links": links,
            "groups": groups, "config": {}, "extra": {}, "version": 0.4}


def note_of(graph: dict[str, Any], layout: Layout) -> str:
    """The note of a workflow. What to do where the demo model is missing stands right below its title."""
    title, rest = layout.note.strip().split("\n", 1)
    inputs = [each for node in graph.values() for each in node["inputs"].items()]
    parts = [title]
    if any(isinstance(value, str) and OF_THE_DEMO.search(value) for _, value in inputs):
        # An inversion and its way back have cfg 1 for every model.
        guided = any(name == "cfg" and value != 1 for name, value in inputs)
        parts.append(MISSING.format(guidance=OWN_GUIDANCE if guided else ""))
    return "\n\n".join([*parts, rest.strip()])


def page_nodes(graph: dict[str, Any], object_info: dict[str, Any]) -> tuple[dict[str, dict], list[list]]:
    """The nodes of a graph in API format as the page has them, to be arranged, and the page's list of links."""
    nodes = {key: _page_node(key, node, object_info[node["class_type"]]) for key, node in graph.items()}
    _match_types(graph, nodes, object_info)
    return nodes, _link(graph, nodes)


def api_from_page(page: dict[str, Any], object_info: dict[str, Any]) -> dict[str, Any]:
    """The graph in API format that ComfyUI's page would queue for a workflow made of ordinary nodes."""
    origins = {link[0]: [str(link[1]), link[2]] for link in page["links"]}
    graph = {}
    for node in page["nodes"]:
        if node["type"] in ("Note", "MarkdownNote"):
            continue
        values = iter(node.get("widgets_values", []))
        inputs: dict[str, Any] = {}
        for name, specification in _inputs(object_info[node["type"]], inputs):
            if _is_widget(specification):
                inputs[name] = next(values)
                if _has_control(name, specification):
                    next(values)
        for slot in node["inputs"]:
            if slot["link"] is not None:
                inputs[slot["name"]] = origins[slot["link"]]
        graph[str(node["id"])] = {"class_type": node["type"], "inputs": inputs,
                                  "_meta": {"title": node.get("title") or object_info[node["type"]]["display_name"]}}
    return graph


def differences(graph: dict[str, Any], page: dict[str, Any], object_info: dict[str, Any]) -> list[str]:
    """Where the page form of a workflow would queue something else than its API twin, one line per place."""
    queued, found = api_from_page(page, object_info), []
    for key in sorted(graph.keys() | queued.keys(), key=int):
        ours, theirs = graph.get(key), queued.get(key)
        if ours is None or theirs is None:
            found.append(f"node {key} is only in the {'page' if ours is None else 'API'} form")
        elif (ours["class_type"], ours["_meta"]) != (theirs["class_type"], theirs["_meta"]):
            found.append(f"node {key} is {ours['class_type']} {ours['_meta']} in the API form, "
                         f"{theirs['class_type']} {theirs['_meta']} in the page form")
        else:
            found += [f"node {key}, input {name}: {ours['inputs'].get(name)!r} in the API form, "
                      f"{theirs['inputs'].get(name)!r} in the page form"
                      for name in sorted(ours["inputs"].keys() | theirs["inputs"].keys())
                      if ours["inputs"].get(name) != theirs["inputs"].get(name)]
    return found


def compact(content: Any) -> str:
    """JSON whose lists and objects stand in one line each where they are short, so that changes can be read."""
    return "\n".join(_lines(content, "", "")) + "\n"


def _lines(value: Any, before: str, after: str) -> Iterator[str]:
    short = json.dumps(value, ensure_ascii=False)
    if len(short) <= LONGEST_LINE or not isinstance(value, (dict, list)):
        yield before + short + after
        return
    entries = [(f"{json.dumps(key, ensure_ascii=False)}: ", item) for key, item in value.items()] \
        if isinstance(value, dict) else [("", item) for item in value]
    start, end = "{}" if isinstance(value, dict) else "[]"
    yield before + start
    for place, (key, item) in enumerate(entries, 1):
        yield from _lines(item, key, "," if place < len(entries) else "")
    yield end + after


def _read_object_info(file: Path | None, server: str) -> dict[str, Any]:
    if file:
        return json.loads(file.read_text(encoding="utf-8"))
    # A proxy that is set for the internet must not be asked for a server on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{server}/object_info", timeout=60) as answer:
            return json.load(answer)
    except urllib.error.URLError as failure:
        raise Explained(f"No ComfyUI answers at {server} ({failure.reason}). Start one that has this pack, name its "
                        "address with --server, or give a saved /object_info with --object-info.") from None


def _inputs(description: dict[str, Any], given: dict[str, Any]) -> Iterator[tuple[str, list]]:
    """The inputs of a node, each choice followed by the inputs that come with it: `mode`, `mode.steps`.

    What is chosen is looked up in `given` only after the choice was yielded, so that it can be filled on the way.
    """
    for kind in ("required", "optional"):
        for name in description["input_order"].get(kind, []):
            yield from _with_chosen(name, description["input"][kind][name], given)


def _with_chosen(name: str, specification: list, given: dict[str, Any]) -> Iterator[tuple[str, list]]:
    """An input, and those that its choice brings, which may be choices themselves."""
    yield name, specification
    if specification[0] == BRANCHING:
        chosen, = (option["inputs"] for option in _options(specification)["options"] if option["key"] == given[name])
        for branch in ("required", "optional"):
            for inner, inner_specification in chosen.get(branch, {}).items():
                yield from _with_chosen(f"{name}.{inner}", inner_specification, given)


def _options(specification: list) -> dict[str, Any]:
    return specification[1] if len(specification) > 1 else {}


def _is_widget(specification: list) -> bool:
    listed = isinstance(specification[0], list)
    return (listed or specification[0] in WIDGET_TYPES) and not _options(specification).get("forceInput")


def _has_control(name: str, specification: list) -> bool:
    # The page adds a second widget, what to do with the seed after a run, to inputs of these names by itself.
    return bool(_options(specification).get("control_after_generate")) or (
        specification[0] == "INT" and name in ("seed", "noise_seed"))


def _page_node(key: str, node: dict[str, Any], description: dict[str, Any]) -> dict[str, Any]:
    sockets, widgets, values = [], [], []
    for name, specification in _inputs(description, node["inputs"]):
        given = node["inputs"].get(name)
        if specification[0] == "COMFY_AUTOGROW_V3":
            sockets += _growing_sockets(name, specification, node["inputs"])
        elif _is_widget(specification):
            kind = "COMBO" if isinstance(specification[0], list) else specification[0]
            widgets.append({"localized_name": name.rpartition(".")[2], "name": name, "type": kind,
                            "widget": {"name": name}, "link": None})
            values.append(_options(specification).get("default") if given is None or isinstance(given, list) else given)
            if _has_control(name, specification):
                values.append("fixed")
        else:
            optional = {"shape": 7} if name in description["input"].get("optional", {}) else {}
            sockets.append({"localized_name": name, "name": name, **optional, "type": specification[0], "link": None})
    outputs = [{"localized_name": name, "name": name, "type": kind, "links": []}
               for name, kind in zip(description["output_name"], description["output"])]
    own = description["python_module"].startswith("custom_nodes.")
    models = [MODELS[value] for value in values if isinstance(value, str) and value in MODELS]
    properties = {"cnr_id": PACK_NAME if own else "comfy-core", "ver": PACK_VERSION if own else CORE_VERSION,
                  "Node name for S&R": node["class_type"], **({"models": models} if models else {})}
    return {"id": int(key), "type": node["class_type"], "pos": [0, 0], "size": [0, 0], "flags": {}, "order": 0,
            "mode": 0, "inputs": sockets + widgets, "outputs": outputs, "title": node["_meta"]["title"],
            "properties": properties, "widgets_values": values,
            "_height": _height(node, description, len(sockets), len(outputs)), "_text": _takes_text(node, description),
            "_picture": _shows_picture(description),
            "_fixed": _changes(description, node)}


def _growing_sockets(group: str, specification: list, given: dict[str, Any]) -> list[dict[str, Any]]:
    """The sockets of an input that grows: those in use, and an open one after them."""
    template = _options(specification)["template"]
    (kind, *_), = next(iter(template["input"].values())).values()
    used = sum(name.startswith(f"{group}.") for name in given)
    sockets = []
    for index in range(min(used + 1, template["max"])):
        label = f"{template['prefix']}{index}"
        optional = {} if index < template["min"] else {"shape": 7}
        sockets.append({"label": label, "localized_name": f"{group}.{label}", "name": f"{group}.{label}", **optional,
                        "type": kind, "link": None})
    return sockets


def _height(node: dict[str, Any], description: dict[str, Any], sockets: int, outputs: int) -> int:
    widgets = [{"type": "COMBO" if isinstance(specification[0], list) else specification[0],
                "multiline": bool(_options(specification).get("multiline")),
                "advanced": bool(_options(specification).get("advanced")), "control": _has_control(name, specification)}
               for name, specification in _inputs(description, node["inputs"]) if _is_widget(specification)]
    growing = any(specification[0] == "COMFY_AUTOGROW_V3"
                  for _, specification in _inputs(description, node["inputs"]))
    least = body_height(sockets, outputs, widgets, growing=growing, changing=_changes(description, node),
                        badge=description["python_module"].startswith("custom_nodes.")
                        or bool(description.get("experimental") or description.get("deprecated")),
                        button=node["class_type"] in ("CheckpointLoaderSimple", "LoadImage"))
    return max(least, SHOWN_TEXT) if node["class_type"] == "PreviewAny" else least


def _changes(description: dict[str, Any], node: dict[str, Any]) -> bool:
    """Whether one of its inputs is a choice that brings other inputs."""
    return any(specification[0] == BRANCHING for _, specification in _inputs(description, node["inputs"]))


def _takes_text(node: dict[str, Any], description: dict[str, Any]) -> bool:
    return any(_is_widget(specification) and _options(specification).get("multiline")
               for _, specification in _inputs(description, node["inputs"]))


def _shows_picture(description: dict[str, Any]) -> bool:
    """Whether a picture appears on the node: one that it saves, shows or loads, or previews of what it samples."""
    kinds = [kind for inputs in description["input"].values() for specification in inputs.values()
             if isinstance(specification[0], str) for kind in specification[0].split(",")]
    samples = "LATENT" in description["output"] and not {"MODEL", "GUIDER", "DMA_HSPACE"}.isdisjoint(kinds)
    return samples or (description["output_node"] and "IMAGE" in kinds) or description["name"] == "LoadImage"


def _match_types(graph: dict[str, Any], nodes: dict[str, dict], object_info: dict[str, Any]) -> None:
    """Give inputs and outputs that match what is connected to them its type, as the page does."""
    for key in _in_order(graph):
        description, slots = object_info[graph[key]["class_type"]], {slot["name"]: slot
                                                                     for slot in nodes[key]["inputs"]}
        for name, specification in _inputs(description, graph[key]["inputs"]):
            if specification[0] == MATCHING:
                origin, number = graph[key]["inputs"][name]
                template, kind = _options(specification)["template"]["template_id"], nodes[origin]["outputs"][number][
                    "type"]
                slots[name]["type"] = kind
                for output, matched in zip(nodes[key]["outputs"], description["output_matchtypes"] or ()):
                    output["type"] = kind if matched == template else output["type"]


def _link(graph: dict[str, Any], nodes: dict[str, dict]) -> list[list]:
    """Connect page nodes as the graph says; returns the page's list of links."""
    links: list[list] = []
    for key, node in graph.items():
        slots = {slot["name"]: (index, slot) for index, slot in enumerate(nodes[key]["inputs"])}
        for name, value in node["inputs"].items():
            if not isinstance(value, list):
                continue
            index, slot = slots[name]
            origin, output = nodes[value[0]], nodes[value[0]]["outputs"][value[1]]
            slot["link"] = len(links) + 1
            output["links"].append(slot["link"])
            links.append([slot["link"], origin["id"], value[1], int(key), index, output["type"]])
    return links


def _in_order(graph: dict[str, Any]) -> list[str]:
    """The nodes of a graph, each after those that it needs."""
    done: list[str] = []

    def visit(key: str) -> None:
        if key not in done:
            for value in graph[key]["inputs"].values():
                if isinstance(value, list):
                    visit(value[0])
            done.append(key)

    for key in graph:
        visit(key)
    return done


if __name__ == "__main__":
    run(main)
