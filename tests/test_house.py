"""The rules of the house (ARCHITECTURE.md): faces, floors, what is loaded and said where, names, sizes, test files."""
import ast
import functools
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pack
import public_names
from installing import child_variables

ROOT = public_names.ROOT
PACK = pack.NAME
# What stands on one line may import what stands on the lines above it, and nothing else of its house.
FLOORS = {
    "dma": """
        records files named_tensors choices loss_scale precision rounding
        execution statistics
        diffusion
        solvers models clustering
        distributed
        alignment mean_shift inversion interpolation encoders hspace training metrics baselines representation steering
        figures
        __init__
    """,
    "nodes": """
        comfyui
        inputs
        alignment mean_shift hspace inversion interpolation training baselines metrics representation steering figures
        modes probing distributed
        extension
    """,
}
LIBRARIES = {"PIL", "diffusers", "matplotlib", "numpy", "ray", "safetensors", "sklearn", "threadpoolctl", "torch",
             "transformers"}
# What ComfyUI offers to every node; the rest of it is for nodes/comfyui.
COMFYUI_FOR_NODES = {"comfy.samplers", "comfy_api.latest", "comfy_execution.graph_utils", "folder_paths"}
MOST_LINES = 350
PAGE_WORDS = re.compile(r"\b(widget|socket|connect)s?\b", re.IGNORECASE)

FILES = [file for folder in ("dma", "nodes", "tools", "tests", "benchmarks", "docs", "demo")
         for file in sorted((ROOT / folder).rglob("*.py"))]
HOUSE = [file for file in FILES if file.relative_to(ROOT).parts[0] in FLOORS]
DMA = [file for file in HOUSE if file.relative_to(ROOT).parts[0] == "dma"]
FACES = [file for file in HOUSE if file.name == "__init__.py"]


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def each(files: list[Path]):
    return pytest.mark.parametrize("file", files, ids=name_of)


@functools.cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def module_of(file: Path) -> tuple[str, ...]:
    """The module's path from the root of the repository: ("dma", "alignment", "_align"), a face as its folder."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def file_of(module: tuple[str, ...]) -> Path | None:
    place = ROOT.joinpath(*module)
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


def imports_of(file: Path, statements: Iterator[ast.AST] | None = None) -> set[tuple[str, ...]]:
    """The modules that a file imports anywhere in it: those of the pack by their path from its root."""
    found = set()
    package = file.relative_to(ROOT).parts[:-1]
    for node in statements or ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            found.update(tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module or "").split(".")) if node.module else base
            module = module[1:] if module[0] == PACK else module
            # A name may be a module of its own; without one it belongs to the module that it is taken from.
            found.update((*module, alias.name) if file_of((*module, alias.name)) else module for alias in node.names)
    return {target[1:] if target[0] == PACK else target for target in found} - {()}


def in_house(file: Path) -> set[tuple[str, ...]]:
    """The modules of dma and nodes that a file imports. ComfyUI's own module `nodes` is not one of them."""
    return {target for target in imports_of(file) if target[0] in FLOORS and file_of(target) and target != ("nodes",)}


@each(FACES)
def test_a_face_re_exports_and_holds_nothing_else(file):
    docstring, *rest = tree_of(file).body
    assert ast.get_docstring(tree_of(file)), "a face says what is behind it"
    exported = []
    for statement in rest:
        if isinstance(statement, ast.ImportFrom):
            assert statement.level == 1, f"line {statement.lineno}: a face re-exports what lies in its own folder"
            exported += [alias.asname or alias.name for alias in statement.names]
        else:
            assert isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__", (
                f"line {statement.lineno} is more than a re-export")
    names = public_names.names_of(file)
    assert sorted(names) == sorted(exported), "__all__ names what the face imports, all of it and once"
    # Constants, then classes, then functions, as ruff's RUF022 sorts them.
    assert names == sorted(names, key=lambda name: (0 if name.isupper() else 1 if name[0].isupper() else 2, name))


@each(FACES)
def test_every_public_name_can_be_imported(file, comfyui):
    module = importlib.import_module(".".join((PACK, *module_of(file))))
    assert [name for name in public_names.names_of(file) if not hasattr(module, name)] == []


@each([file for file in HOUSE if len(file.relative_to(ROOT).parts) > 2 and file.name != "__init__.py"])
def test_files_behind_a_face_are_private(file):
    assert file.name.startswith("_")


@each(FILES)
def test_nobody_imports_past_a_face(file):
    own = module_of(file)
    # The tests of a room may test its private helpers.
    own = {("tests", "dma"): ("dma",), ("tests", "in_comfyui"): ("nodes",)}.get(own[:2], own[:2]) + own[2:]

    def may(target: tuple[str, ...]) -> bool:
        behind = next((place for place, part in enumerate(target) if part.startswith("_")), None)
        return behind is None or target[:behind] == own[:behind]

    assert sorted(".".join(target) for target in in_house(file) if not may(target)) == []


@each(HOUSE)
def test_imports_go_down(file):
    house, *rest = module_of(file)
    floors = {room: floor for floor, line in enumerate(FLOORS[house].strip().splitlines()) for room in line.split()}
    room = rest[0] if rest else "__init__"
    if house == "nodes" and not rest:
        assert not in_house(file), "the face of nodes loads without ComfyUI"
        return
    assert room in floors, f"give {house}/{room} a floor, here and in ARCHITECTURE.md"
    others = [target for target in in_house(file) if target[:2] != (house, room)]
    assert {target[0] for target in others} <= ({"dma"} if house == "dma" else {"dma", "nodes"})
    same_house = {target[1] if len(target) > 1 else "__init__" for target in others if target[0] == house}
    assert sorted(other for other in same_house if floors.get(other, 99) >= floors[room]) == []


def test_no_import_goes_round():
    imported = {module_of(file): in_house(file) - {module_of(file)} for file in HOUSE}
    finished: set[tuple[str, ...]] = set()

    def visit(module: tuple[str, ...], way: tuple[tuple[str, ...], ...]) -> None:
        assert module not in way, " -> ".join(".".join(step) for step in (*way[way.index(module):], module))
        if module not in finished:
            for target in sorted(imported[module]):
                visit(target, (*way, module))
            finished.add(module)

    for module in imported:
        visit(module, ())


@each(DMA)
def test_dma_knows_only_its_libraries(file):
    known = LIBRARIES | sys.stdlib_module_names | {"dma"}
    assert sorted(".".join(target) for target in imports_of(file) if target[0] not in known) == []


@each(DMA)
def test_dma_loads_heavy_libraries_where_they_are_needed(file):
    light = {"torch", *sys.stdlib_module_names, "dma", *(["numpy"] if "figures" in file.parts else [])}
    at_import = [node for statement in tree_of(file).body
                 if not isinstance(statement, ast.FunctionDef | ast.ClassDef) and not _is_for_types(statement)
                 for node in ast.walk(statement)]
    assert sorted(".".join(target) for target in imports_of(file, iter(at_import)) if target[0] not in light) == []


def _is_for_types(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"


def test_the_face_of_dma_loads_with_torch_alone():
    script = """if True:
        import json, sys
        import torch
        before = set(sys.modules)
        import dma
        print(json.dumps(sorted({name.split(".")[0] for name in set(sys.modules) - before})))
        print(json.dumps(sorted(name for name in sys.modules if name.startswith("dma.figures"))))
    """
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=child_variables(), capture_output=True,
                          text=True, check=True).stdout.splitlines()
    loaded, figures = map(json.loads, said)
    assert set(loaded) - sys.stdlib_module_names <= {"dma", "torch"}
    assert figures == []


@each([file for file in HOUSE if file.relative_to(ROOT).parts[0] == "nodes" and "comfyui" not in file.parts])
def test_only_nodes_comfyui_knows_comfyuis_internals(file):
    known = LIBRARIES | sys.stdlib_module_names | {"dma", "nodes"}
    assert sorted(".".join(target) for target in imports_of(file)
                  if target[0] not in known and ".".join(target) not in COMFYUI_FOR_NODES) == []


@each(DMA)
def test_dma_speaks_no_word_of_the_page(file):
    """dma says what is wrong; what to connect or to change on the page is for nodes to say."""
    lines = file.read_text(encoding="utf-8").splitlines()
    assert [f"line {number}: {line.strip()}" for number, line in enumerate(lines, 1) if PAGE_WORDS.search(line)] == []


def test_public_names():
    """Whoever uses dma relies on these names. A change of them is meant if `python tools/public_names.py` was run and
    CHANGELOG.md speaks of it."""
    assert public_names.public_names() == json.loads(public_names.SNAPSHOT.read_text(encoding="utf-8"))


@each([file for file in DMA if file.name != "__init__.py"])
def test_every_module_of_dma_has_a_test_file(file):
    inside = file.relative_to(ROOT / "dma")
    assert (ROOT / "tests" / "dma" / inside.parent / f"test_{inside.stem.lstrip('_')}.py").is_file()


@each([file for file in FILES if file.relative_to(ROOT).parts[0] in ("dma", "nodes", "tools")])
def test_files_hold_one_idea(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "web").rglob("*.md")})
# "ROOM", "FILE" and the like stand for any name.
PLACE = re.compile(r"`((?:dma|nodes|tests|tools|benchmarks|docs|demo|web|example_workflows)/[\w./]*)`")


@each(PAGES)
def test_documents_name_places_that_exist(file):
    places = PLACE.findall(file.read_text(encoding="utf-8"))
    assert [place for place in places if not re.search(r"\b_?[A-Z]{2,}\b|_[A-Z]{2,}\b", place)
            and not (ROOT / place).exists()] == []
