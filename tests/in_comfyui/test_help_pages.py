"""A help page lists the sockets of its node with their defaults, in a form that fits the page's narrow panel."""
import asyncio
import re
from pathlib import Path

import pytest

PAGES = Path(__file__).resolve().parents[2] / "web" / "docs"
# - **name**, **other** (TYPE, default): what it is
ITEM = re.compile(r"^- ((?:\*\*[\w.]+\*\*(?:, )?)+) \(([^,)]+)(?:, ([^)]*))?\): ", re.MULTILINE)
WIDEST, SHORT = 3, 70  # columns of a table; letters of a row that may have more of them


@pytest.fixture(scope="module")
def node_classes(comfyui):
    import mental_averages

    async def collect():
        return await (await mental_averages.comfy_entrypoint()).get_node_list()

    return asyncio.run(collect())


def listed(page: str) -> dict[str, tuple[str, str]]:
    """Type and default in words of each socket that a page lists; of several of one name the first."""
    found: dict[str, tuple[str, str]] = {}
    for names, kind, default in ITEM.findall(page):
        for name in re.findall(r"\*\*([\w.]+)\*\*", names):
            found.setdefault(name, (kind.strip(), default.strip()))
    return found


def page_of(schema) -> str:
    return (PAGES / f"{schema.node_id}.md").read_text(encoding="utf-8")


def test_pages_list_every_socket(node_classes):
    missing = {}
    for node in node_classes:
        schema = node.GET_SCHEMA()
        if schema.is_dev_only:  # made by another node while it runs
            continue
        # An output is called on the page what it is called on the node.
        names = [*(item.id for item in schema.inputs), *(item.display_name or item.id for item in schema.outputs)]
        missing[schema.node_id] = [name for name in names if name not in listed(page_of(schema))]
    assert {node: names for node, names in missing.items() if names} == {}


def test_pages_tell_the_defaults_that_nodes_have(node_classes):
    from comfy_api.latest import io

    wrong = []
    for node in node_classes:
        schema = node.GET_SCHEMA()
        told = listed(page_of(schema))
        for item in schema.inputs:
            if not isinstance(item, (io.Int.Input, io.Float.Input, io.Boolean.Input)) or item.default is None:
                continue
            if item.id in told and told[item.id][1] not in words_of(item.default):
                wrong.append(f"{schema.node_id}.{item.id}: {told[item.id][1]!r}, and the node has {item.default!r}")
    assert wrong == []


def words_of(default: bool | float) -> set[str]:
    return {str(default).lower()} if isinstance(default, bool) else {f"{default:g}", str(default)}


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_tables_fit_the_panel(page):
    """336 pixels hold three columns of words; of more the last are cut, unless they hold numbers alone."""
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert [row for row in rows if len(re.findall(r"(?<!\\)\|", row)) - 1 > WIDEST and len(row) > SHORT] == []
