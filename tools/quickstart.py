"""Make mental averages with one command: prepare ComfyUI, run the template, print the pictures' paths.

    python tools/quickstart.py --prompt "red heart"
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import checkpoint_header
import comfy_server
import environment as environments
import page_workflow
import workspace
from console import Explained, ProgressLine, make_folder, run, say
from page_layouts import LAYOUTS

TEMPLATE = "01_mental_average_beside_other_averages"
WORKFLOW = "mental_averages_quickstart"  # the name of what is saved for the page
# Of a checkpoint of the user's own; what the template has suits the demo model and its small pictures.
OWN_GUIDANCE, OWN_CELL = 7.0, 256
LOOK_AT_FIRST = ("mental_average", "sheet")  # of the pictures, by what their names end with
GRAPH = workspace.PACK / "example_workflows" / "api" / f"{TEMPLATE}.json"


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    checkpoint = _own_checkpoint(options.checkpoint) if options.checkpoint else None
    graph = _read_graph()
    make_folder(options.out, "Name another one with --out.")
    own = options.comfyui or os.environ.get("COMFYUI_PATH")
    environment = environments.use_own(Path(own), say) if own else environments.prepare(say)
    base = workspace.default_base()
    if checkpoint:
        edit(graph, checkpoint=workspace.add_checkpoint(base, checkpoint),
             size=checkpoint_header.picture_size(checkpoint), guidance=OWN_GUIDANCE, cell=OWN_CELL)
    else:
        edit(graph, checkpoint=workspace.demo_checkpoint(environment, base, say).name)
    edit(graph, prompt=options.prompt, count=options.count, seed=options.seed)
    changed = graph != _read_graph()
    name_pictures(graph)

    say("Starting ComfyUI.")
    with comfy_server.start(environment, base, options.port) as server:
        if options.serve:
            if not environment.own:  # whose settings are the user's
                server.skip_tour()
            address = _address(server, graph, changed)
            say(address)
        for picture in _make(server, graph, options.out):
            say(str(picture))
        if options.serve:
            say(address)  # again, since the first has scrolled away
            _keep_open(server)
    return 0


def edit(graph: dict[str, Any], *, checkpoint: str | None = None, prompt: str | None = None, count: int | None = None,
         seed: int | None = None, size: int | None = None, guidance: float | None = None,
         cell: int | None = None) -> None:
    """Change what is given in a graph in API format; `size` is the pictures' width and height in pixels, `cell` the
    height of a picture on sheets."""
    for node in graph.values():
        kind, inputs = node["class_type"], node["inputs"]
        if checkpoint is not None and kind == "CheckpointLoaderSimple":
            inputs["ckpt_name"] = checkpoint
        if prompt is not None and kind == "CLIPTextEncode" and _title(node) == "Prompt":
            inputs["text"] = prompt
        if count is not None and kind in ("AlignTrajectories", "MentalAverage"):
            inputs["count"] = count
        if size is not None and kind == "EmptyLatentImage":
            inputs["width"] = inputs["height"] = size
        if size is not None and kind == "ImageScale":  # what enlarges small pictures leaves these as they are
            inputs["width"], inputs["height"] = size, inputs["height"] and size
        if cell is not None and kind == "LabelledSheet":
            inputs["cell"] = cell
        if guidance is not None and "cfg" in inputs:
            inputs["cfg"] = guidance
        # A seed may be one that a choice brings, such as method.seed. One that comes through a link is a list, and is
        # changed where it comes from.
        for name, value in inputs.items():
            if seed is not None and name.rpartition(".")[2] == "seed" and isinstance(value, int):
                inputs[name] = seed


def name_pictures(graph: dict[str, Any]) -> None:
    """Have a graph save the pictures that it shows, all named after its prompt."""
    prompts = [node["inputs"]["text"] for node in graph.values()
               if node["class_type"] == "CLIPTextEncode" and _title(node) == "Prompt"]
    concept = re.sub(r"\W+", "_", prompts[0] if prompts else "").strip("_")[:40] or "empty_prompt"
    for node in graph.values():
        if node["class_type"] == "PreviewImage":
            node["class_type"] = "SaveImage"
            node["inputs"]["filename_prefix"] = re.sub(r"\W+", "_", _title(node)).lower()
        if node["class_type"] == "SaveImage":
            part = node["inputs"].get("filename_prefix", "").replace("\\", "/").rsplit("/", 1)[-1]
            node["inputs"]["filename_prefix"] = f"{workspace.PACK_NAME}/{concept}_{part}".rstrip("_")


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="quickstart.py", description=__doc__.splitlines()[0])
    parser.add_argument("--prompt", metavar="TEXT", help="the concept to average, e.g. \"red heart\"")
    parser.add_argument("--count", metavar="K", type=int,
                        help="how many noises each average is taken over; more is slower and steadier")
    parser.add_argument("--seed", metavar="N", type=int,
                        help="the samples' random seed; the same seed, the same picture")
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("mental_average_output"),
                        help="folder for the pictures, made if missing (default: %(default)s)")
    parser.add_argument("--checkpoint", metavar="FILE", type=Path,
                        help="a .safetensors checkpoint of your own instead of the small demo model")
    parser.add_argument("--comfyui", metavar="PATH",
                        help="a ComfyUI of your own to run in; it stays unchanged but for a link to this pack "
                             "(default: the environment variable COMFYUI_PATH, else one is installed)")
    parser.add_argument("--serve", action="store_true",
                        help="leave ComfyUI running with the template loaded, until Ctrl-C")
    parser.add_argument("--port", metavar="N", type=int, help="ComfyUI's port (default: a free one)")
    options = parser.parse_args(arguments)
    for name, lowest, highest in (("count", 1, 100_000), ("seed", 0, 2**64 - 1), ("port", 1, 65535)):
        value = getattr(options, name)
        if value is not None and not lowest <= value <= highest:
            raise Explained(f"--{name} {value} is out of range: it must be between {lowest} and {highest}.")
    return options


def save_page(server: comfy_server.Server, graph: dict[str, Any]) -> None:
    """Save a graph in API format among the workflows of a server's user, as the page shows it."""
    page = page_workflow.page_from_api(graph, server.get("/object_info"), LAYOUTS[TEMPLATE], TEMPLATE)
    server.post(f"/userdata/workflows%2F{WORKFLOW}.json?overwrite=true", page)


def _address(server: comfy_server.Server, graph: dict[str, Any], changed: bool) -> str:
    """Where the page shows what is made. An address can name the template alone, which holds the demo's settings."""
    if not changed:
        return f"ComfyUI with the template: {server.address}/?template={TEMPLATE}&source={workspace.PACK_NAME}"
    save_page(server, graph)
    return f"ComfyUI: {server.address}/  Open the workflow {WORKFLOW} from its sidebar (key W)."


def _title(node: dict[str, Any]) -> str:
    return node.get("_meta", {}).get("title") or node["class_type"]


def _read_graph() -> dict[str, Any]:
    try:
        return json.loads(GRAPH.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Explained(f"{GRAPH} is missing. Is this a complete checkout of the pack?") from None


def _own_checkpoint(path: Path) -> Path:
    path = path.expanduser().resolve()
    if not path.is_file():
        raise Explained(f"The checkpoint {path} does not exist.")
    if path.suffix != ".safetensors":
        raise Explained(f"{path} is not a .safetensors file. Other formats can run code when they are loaded and are "
                        "not taken; convert it to safetensors first.")
    checkpoint_header.read_header(path)
    return path


def _make(server: comfy_server.Server, graph: dict[str, Any], out: Path) -> list[Path]:
    line = ProgressLine()
    started = time.monotonic()

    def show(progress: comfy_server.Progress) -> None:
        node = graph.get(progress.node_id)
        line.show(_title(node) if node else progress.node_id, progress.value, progress.maximum)

    try:
        entry = server.wait(server.queue(graph), show)
    except comfy_server.PromptError as failure:
        raise Explained(f"ComfyUI could not make the picture. {failure}\nIts log: {server.log_file}") from None
    finally:
        line.finish()
    pictures = [_copied(picture, out) for picture in sorted(server.output_paths(entry), key=_place)]
    say(f"Finished after {time.monotonic() - started:.0f} s:")
    return pictures


def _place(picture: Path) -> int:
    """Where a picture comes in the list of them: what is to be looked at first comes first.

    >>> [_place(Path(f"word_{part}_00001_.png")) for part in ("report", "sheet", "mental_average")]
    [2, 1, 0]
    """
    name = picture.stem.rstrip("_").rpartition("_")[0]
    return next((number for number, part in enumerate(LOOK_AT_FIRST) if name.endswith(part)), len(LOOK_AT_FIRST))


def _copied(picture: Path, out: Path) -> Path:
    target, number = out / picture.name, 2
    while target.exists():
        target, number = out / f"{picture.stem}{number}{picture.suffix}", number + 1
    unfinished = target.with_name(f"{target.name}.part")
    try:
        shutil.copyfile(picture, unfinished)
        return unfinished.replace(target).resolve()
    finally:
        unfinished.unlink(missing_ok=True)


def _keep_open(server: comfy_server.Server) -> None:
    say(f"ComfyUI keeps running at {server.address}; its pictures are saved in {server.output_directory}. Ctrl-C stops "
        "it.")
    try:
        code = server.process.wait()
    except KeyboardInterrupt:
        say("\nStopping ComfyUI.")
        return
    raise comfy_server.ServerStopped(f"ComfyUI ended by itself (code {code}). Its log: {server.log_file}")


if __name__ == "__main__":
    run(main)
