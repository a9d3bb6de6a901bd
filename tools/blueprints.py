"""Write subgraphs/*.json, blueprints of ComfyUI's page, from templates: python tools/blueprints.py --object-info FILE

A blueprint is several nodes in one, which the page lists in its node library. ComfyUI serves those that lie in a pack's
folder `subgraphs`. What is outside of the nodes that a blueprint names becomes its sockets.
"""

from __future__ import annotations

import argparse
import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import page_workflow
from arranging import arrange
from console import run, say
from layout import OTHER, Group, Layout

FOLDER = page_workflow.PACK / "subgraphs"
INPUT, OUTPUT = -10, -20  # the ids by which links name the two ends of a subgraph
HOST_SIZE = [320, 300]
CATEGORY = "Diffusion Mental Averages"


@dataclass(frozen=True)
class Blueprint:
    """Which nodes of a template a blueprint holds, and what of them is seen from outside.

    Attributes:
        template: name of the workflow in example_workflows/api.
        columns: the nodes, as columns from left to right.
        sockets: name of the socket for each output (node, number) that comes from outside.
        widgets: name for each (node, widget) that is shown on the blueprint.
        outputs: (node, number of its output, name).
        description: what the page says of it.
        values: (node, input) with another value than in the template.
    """

    template: str
    columns: tuple[tuple[str, ...], ...]
    sockets: dict[tuple[str, int], str]
    widgets: dict[tuple[str, str], str]
    outputs: tuple[tuple[str, int, str], ...]
    description: str
    values: dict[tuple[str, str], Any] = field(default_factory=dict)


CHECKPOINT = {("1", 0): "model", ("1", 1): "clip", ("1", 2): "vae"}
BLUEPRINTS = {
    "Mental average": Blueprint(
        "00_mental_average_of_a_prompt", (("2", "4"), ("5",), ("6",)), CHECKPOINT,
        {("2", "text"): "prompt", ("4", "width"): "width", ("4", "height"): "height", ("5", "count"): "count",
         ("5", "cfg"): "cfg", ("5", "seed"): "seed"},
        (("6", 0, "image"), ("5", 1, "variety"), ("5", 2, "report")),
        "One clear picture of what the model thinks a prompt looks like, nearly the same for every seed."),
    "Family tree of a prompt": Blueprint(
        "12_family_tree_of_a_prompt", (("2", "3", "4"), ("5",)), CHECKPOINT,
        {("2", "text"): "prompt", ("4", "width"): "width", ("4", "height"): "height", ("5", "count"): "count",
         ("5", "cfg"): "cfg", ("5", "seed"): "seed"},
        (("5", 1, "tree"), ("5", 2, "modes"), ("5", 6, "report")),
        "Many samples of a prompt, as a tree of what they have in common: each branch is a mode, with its average.",
        {("4", "width"): 512, ("4", "height"): 512}),
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="blueprints.py", description=__doc__.splitlines()[0])
    parser.add_argument("--object-info", metavar="FILE", type=Path, required=True,
                        help="a saved answer of a server's /object_info")
    described = json.loads(parser.parse_args(arguments).object_info.read_text(encoding="utf-8"))
    FOLDER.mkdir(exist_ok=True)
    for name, blueprint in BLUEPRINTS.items():
        file = FOLDER / f"{name}.json"
        file.write_text(page_workflow.compact(build(name, blueprint, described)), encoding="utf-8")
        say(str(file))
    return 0


def build(name: str, blueprint: Blueprint, object_info: dict[str, Any]) -> dict[str, Any]:
    """A blueprint in the form in which the page reads it: a workflow of one node, and the subgraph that it stands for.
    """
    graph = page_workflow.read_api(blueprint.template)
    for (key, widget), value in blueprint.values.items():
        graph[key]["inputs"][widget] = value
    every, connections = page_workflow.page_nodes(graph, object_info)
    nodes = {key: every[key] for column in blueprint.columns for key in column}
    sockets = [{"name": socket, "type": every[key]["outputs"][number]["type"]}
               for (key, number), socket in blueprint.sockets.items()]
    numbers = {(int(key), number): place for place, (key, number) in enumerate(blueprint.sockets)}
    inside = {node["id"] for node in nodes.values()}

    links: list[dict[str, Any]] = []
    for node in nodes.values():
        for output in node["outputs"]:
            output["links"] = []
    by_id = {node["id"]: node for node in nodes.values()}
    for _, origin, number, target, place, kind in connections:
        if target in inside:
            source = (origin, number) if origin in inside else (INPUT, numbers[origin, number])
            _connect(by_id, links, source, (target, place), kind)
    for (key, widget), label in blueprint.widgets.items():
        place, slot = next((place, slot) for place, slot in enumerate(nodes[key]["inputs"]) if slot["name"] == widget)
        _connect(by_id, links, (INPUT, len(sockets)), (nodes[key]["id"], place), slot["type"])
        sockets.append({"name": label, "type": slot["type"], "widget": {"name": label}})
    outputs = [{"name": label, "type": nodes[key]["outputs"][number]["type"]}
               for key, number, label in blueprint.outputs]
    for place, (key, number, _) in enumerate(blueprint.outputs):
        _connect(by_id, links, (nodes[key]["id"], number), (OUTPUT, place), outputs[place]["type"])

    frames = arrange(nodes, Layout("", tuple((Group("", OTHER, (column,)),) for column in blueprint.columns)))
    right = max(frame["bounding"][0] + frame["bounding"][2] for frame in frames)
    identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{page_workflow.PACK_NAME}/blueprint/{name}"))
    subgraph = {
        "id": identity, "version": 1, "revision": 0, "config": {}, "name": name, "category": CATEGORY,
        "description": blueprint.description,
        "state": {"lastGroupId": 0, "lastNodeId": max(inside), "lastLinkId": len(links), "lastRerouteId": 0},
        "inputNode": {"id": INPUT, "bounding": [-220, 60, 140, 20 * len(sockets) + 40]},
        "outputNode": {"id": OUTPUT, "bounding": [right + 80, 60, 140, 20 * len(outputs) + 40]},
        "inputs": [_end(identity, "input", place, socket, links, "origin") for place, socket in enumerate(sockets)],
        "outputs": [_end(identity, "output", place, socket, links, "target") for place, socket in enumerate(outputs)],
        "widgets": [], "nodes": list(nodes.values()), "groups": [], "links": links, "extra": {},
    }
    host = {"id": 1, "type": identity, "pos": [0, 0], "size": HOST_SIZE, "flags": {}, "order": 0, "mode": 0,
            "inputs": [{**socket, "localized_name": socket["name"], "link": None} for socket in sockets],
            "outputs": [{**socket, "localized_name": socket["name"], "links": []} for socket in outputs],
            "properties": {"proxyWidgets": [[key, widget] for key, widget in blueprint.widgets],
                           "cnr_id": page_workflow.PACK_NAME, "ver": page_workflow.PACK_VERSION},
            "widgets_values": [], "title": name}
    # Without an id: the page keeps links by the id of their graph, and loses those of a subgraph of the same id.
    return {"revision": 0, "last_node_id": 1, "last_link_id": 0, "nodes": [host], "links": [],
            "groups": [], "definitions": {"subgraphs": [subgraph]}, "config": {}, "extra": {}, "version": 0.4}


def _connect(nodes: dict[int, dict], links: list[dict[str, Any]], source: tuple[int, int], target: tuple[int, int],
             kind: str) -> None:
    link = {"id": len(links) + 1, "origin_id": source[0], "origin_slot": source[1], "target_id": target[0],
            "target_slot": target[1], "type": kind}
    links.append(link)
    if source[0] != INPUT:
        nodes[source[0]]["outputs"][source[1]]["links"].append(link["id"])
    if target[0] != OUTPUT:
        nodes[target[0]]["inputs"][target[1]]["link"] = link["id"]


def _end(identity: str, side: str, place: int, socket: dict[str, Any], links: list[dict[str, Any]], end: str) -> dict:
    """A socket of a subgraph as seen from inside."""
    node = INPUT if side == "input" else OUTPUT
    return {"id": str(uuid.uuid5(uuid.UUID(identity), f"{side}/{socket['name']}")), "name": socket["name"],
            "type": socket["type"], "localized_name": socket["name"], "pos": [0, 20 * place],
            "linkIds": [link["id"] for link in links
                        if link[f"{end}_id"] == node and link[f"{end}_slot"] == place]}


if __name__ == "__main__":
    run(main)
