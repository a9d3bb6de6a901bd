"""Write what is derived from the nodes' schemas: the released contract and the locales.

    python tools/run_tests.py --collect-only -q     once, to prepare the environment
    ENVIRONMENT_PYTHON tools/update_schemas.py      after a schema has changed, with MENTAL_AVERAGES_COMFYUI set

Tests compare the files with the schemas. Texts that the other languages lack are named: see tools/update_languages.py.
"""
from __future__ import annotations

import asyncio
import json
from typing import Any

import pack
import update_languages

CONTRACT = pack.ROOT / "tests" / "in_comfyui" / "schemas.json"
DYNAMIC = "COMFY_DYNAMICCOMBO_V3"  # a choice that brings inputs of its own
LOCALE = pack.ROOT / "locales" / "en" / "nodeDefs.json"


def schemas() -> list[Any]:
    """The schema of every node of the pack."""
    pack.load_comfyui()
    module = pack.load_pack()

    async def collect() -> list[Any]:
        return await (await module.comfy_entrypoint()).get_node_list()

    return [node.GET_SCHEMA() for node in asyncio.run(collect())]


def contract(all_schemas: list[Any]) -> dict:
    """What must never change once released: ids, types and order of inputs and outputs, by node."""
    return {schema.node_id: {"inputs": [_input(item) for item in schema.inputs],
                             "outputs": [[item.display_name, item.io_type] for item in schema.outputs]}
            for schema in all_schemas}


def _input(item: Any) -> list:
    """An input's id and type; one whose choice brings inputs of its own also with these."""
    if item.io_type != DYNAMIC:
        return [item.id, item.get_io_type()]
    return [item.id, item.io_type,
            {option.key: [_input(nested) for nested in option.inputs] for option in item.options}]


def _named(items: list[Any], before: str = "") -> dict[str, dict]:
    """Names and tooltips of inputs by the page's keys, which has an underscore where the ids of inputs of a choice have
    a dot. Of inputs of one key that are explained in several ways the page shows each its own tooltip."""
    found: dict[str, dict] = {}
    for item in items:
        entry = {"name": item.display_name or item.id, "tooltip": item.tooltip}
        named = {f"{before}{item.id}": entry}
        for option in item.options if item.io_type == DYNAMIC else ():
            for key, nested in _named(option.inputs, f"{before}{item.id}_").items():
                named[key] = nested if named.get(key, nested) == nested else {"name": nested["name"]}
        found.update(named)
    return found


def locale(all_schemas: list[Any]) -> dict:
    """ComfyUI's nodeDefs: names and tooltips by node."""
    return {schema.node_id: {
        "display_name": schema.display_name, "description": schema.description,
        "inputs": _named(schema.inputs),
        "outputs": {str(index): {"name": item.display_name, "tooltip": item.tooltip}
                    for index, item in enumerate(schema.outputs)},
    } for schema in all_schemas}


if __name__ == "__main__":
    found = schemas()
    CONTRACT.write_text(json.dumps(contract(found), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    LOCALE.write_text(update_languages.compact(locale(found)), encoding="utf-8")
    update_languages.update_all()
