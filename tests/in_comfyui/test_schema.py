"""Node ids, input names and their order are a public contract."""
import asyncio
import json
from pathlib import Path

import pytest

import update_schemas

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def node_classes(comfyui):
    import mental_averages

    async def collect():
        return await (await mental_averages.comfy_entrypoint()).get_node_list()

    return asyncio.run(collect())


def test_released_contract(node_classes):
    """Extend at the end only; tools/update_schemas.py adds a new node or input in the change that makes it."""
    found = update_schemas.contract([node.GET_SCHEMA() for node in node_classes])
    assert found == json.loads(update_schemas.CONTRACT.read_text())


def test_locale_says_what_the_schemas_say(node_classes):
    found = update_schemas.locale([node.GET_SCHEMA() for node in node_classes])
    assert found == json.loads(update_schemas.LOCALE.read_text(encoding="utf-8"))


def test_the_page_has_words_for_types_and_categories(node_classes):
    main = json.loads((update_schemas.LOCALE.parent / "main.json").read_text(encoding="utf-8"))
    schemas = [node.GET_SCHEMA() for node in node_classes]
    types = {item.io_type for schema in schemas for item in (*schema.inputs, *schema.outputs)}
    assert {name for name in types if name.startswith("DMA_")} <= set(main["dataTypes"])
    assert {part for schema in schemas for part in schema.category.split("/")[1:]} <= set(main["nodeCategories"])


def test_everything_is_explained(node_classes):
    for node in node_classes:
        schema = node.GET_SCHEMA()
        assert schema.description.endswith(".") and schema.display_name
        # Pages in other languages show the name itself.
        assert schema.category.split("/")[0] == "Diffusion Mental Averages"
        for item in (*schema.inputs, *schema.outputs):
            assert item.tooltip, f"{schema.node_id}.{item.id} has no tooltip"
        assert (ROOT / "web" / "docs" / f"{schema.node_id}.md").read_text().strip(), (
            f"{schema.node_id} has no help page")


def test_every_node_is_in_an_example_workflow(node_classes):
    used = "".join(path.read_text() for path in (ROOT / "example_workflows").glob("*.json"))
    for node in node_classes:
        # Nodes that another unfolds into are on no page.
        assert node.GET_SCHEMA().is_dev_only or f'"{node.GET_SCHEMA().node_id}"' in used


def test_execute_takes_what_the_schema_names(node_classes):
    import inspect

    for node in node_classes:
        taken, inputs = inspect.signature(node.execute).parameters, node.GET_SCHEMA().inputs
        # What is handed to a node under names of its maker's choice comes after the inputs that it names.
        assert list(taken) == [*(item.id for item in inputs), *["cells"] * node.GET_SCHEMA().accept_all_inputs]
        # What an API graph leaves out is what a new node on the page has.
        for item in inputs:
            default = getattr(item, "default", None)
            if item.optional and default is not None:
                assert taken[item.id].default == default, f"{node.GET_SCHEMA().node_id}.{item.id}"
