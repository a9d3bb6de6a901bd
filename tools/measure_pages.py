"""Open the example workflows in ComfyUI's real page and measure how they lie: python tools/measure_pages.py [NAME ...]

Each is opened in headless Chromium at 1920 x 1080, with classic nodes and with Vue nodes, and gets a picture wherever
one will appear. The command fails if nodes overlap or leave their frames, if a title is cut off or runs out of its
frame, or if a workflow opens so small that the page draws no text. Crossing links, the share of frames that holds nodes
and the extent are shown.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy_server
import environment as environments
import page_workflow
import workspace
from console import Explained, run, run_child, say
from run_tests import variables

WIDTH, HEIGHT = 1920, 1080
SMALLEST_ZOOM = 0.571  # the page draws no text whose letters, 14 units high, are lower than 8 pixels
MODES = {"classic": False, "vue": True}
TOLERANCE = 1.0  # units of the page; what the page measures is rounded
START_SECONDS, SETTLING_MILLISECONDS, MOST_LOOKS = 90, 700, 30
FOLDED_LETTERS = 20  # of a title, which the classic page draws on a folded node
PICTURE = "demo_cat_face.png"

# `app` is there before the page loads the workflow that it opens with, which would take the place of another one.
OPENED = "() => window.app?.extensionManager?.spinner === false"
HAS_VUE = "() => app.extensionManager.setting.get('Comfy.VueNodes.Enabled') ?? false"
SET_VUE = "async vue => await app.extensionManager.setting.set('Comfy.VueNodes.Enabled', vue)"
OPEN = """async ([workflow, name]) => {
    await app.loadGraphData(workflow, true, true, name, {openSource: 'template'})
}"""
# Pictures come as the server would tell the page of them: of nodes that show one, and previews of what samples.
SHOW_PICTURES = """([picture]) => {
    for (const node of app.graph.nodes) {
        const kinds = (node.inputs ?? []).flatMap(slot => String(slot.type).split(','))
        const samples = (node.outputs ?? []).some(slot => slot.type === 'LATENT')
            && ['MODEL', 'GUIDER', 'DMA_HSPACE'].some(kind => kinds.includes(kind))
        const shows = node.constructor.nodeData?.output_node && kinds.includes('IMAGE')
        if (!node.flags?.collapsed && (samples || shows))
            app.api.dispatchCustomEvent('executed', {node: String(node.id), display_node: String(node.id),
                prompt_id: 'measured', output: {images: [{filename: picture, subfolder: '', type: 'input'}]}})
    }
    app.canvas.setDirty(true, true)
}"""
DRAW = "() => app.canvas.setDirty(true, true)"
MEASURE = """() => {
    const scale = app.canvas.ds.scale, [left, top] = app.canvas.ds.offset
    const canvas = app.canvas.canvas.getBoundingClientRect()
    const box = node => {
        const drawn = document.querySelector(`[data-node-id="${node.id}"]`)?.getBoundingClientRect()
        return drawn && LiteGraph.vueNodesMode
            ? [(drawn.left - canvas.left) / scale - left, (drawn.top - canvas.top) / scale - top,
               drawn.width / scale, drawn.height / scale]
            : [...node.boundingRect]
    }
    // As the classic page draws titles; Vue nodes have more room for theirs.
    const context = app.canvas.ctx
    const wide = (text, font) => {
        context.save()
        context.font = font
        const {width} = context.measureText(text)
        context.restore()
        return width
    }
    const cut = node => node.flags?.collapsed ? node.title.length > FOLDED_LETTERS
        : wide(node.title, node.titleFontStyle) > node.size[0] - 2 * LiteGraph.NODE_TITLE_HEIGHT
    const letters = group => group.font_size || LiteGraph.DEFAULT_GROUP_FONT_SIZE || 24
    const links = []
    for (const link of app.graph.links.values()) {
        const from = app.graph.getNodeById(link.origin_id), to = app.graph.getNodeById(link.target_id)
        links.push([link.origin_id, link.target_id, ...from.getConnectionPos(false, link.origin_slot),
                    ...to.getConnectionPos(true, link.target_slot)])
    }
    return {zoom: scale, links,
            nodes: app.graph.nodes.map(node => ({id: node.id, title: node.title, box: box(node), cut: cut(node)})),
            groups: app.graph.groups.map(group => ({title: group.title, box: [...group.boundingRect],
                written: letters(group) / 2 + wide(group.title, `${letters(group)}px ${LiteGraph.GROUP_FONT}`)}))}
}""".replace("FOLDED_LETTERS", str(FOLDED_LETTERS))

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Measured:
    """How a workflow lies on the page: what is wrong with it, and figures.

    Attributes:
        zoom: at which it opens.
        faults: nodes that lie on each other, in no frame or beyond theirs, titles that are cut off or run out of their
            frame, and a zoom too small to read, as sentences.
        crossings: pairs of links that cross, taken as straight lines.
        width, height: extent of all frames, in units of the page.
        filled: the least share of a frame that holds nodes, and the title of that frame.
    """

    zoom: float
    faults: tuple[str, ...]
    crossings: int
    width: float
    height: float
    filled: tuple[float, str]


def measure(page: Any, workflow: dict[str, Any], name: str) -> Measured:
    """Open a workflow in a page of ComfyUI (Playwright's, 1920 x 1080) and measure it as soon as it stands still."""
    page.evaluate(OPEN, [workflow, name])
    zoom = _at_rest(page)["zoom"]
    page.evaluate(SHOW_PICTURES, [PICTURE])
    return assess({**_at_rest(page), "zoom": zoom})


def _at_rest(page: Any) -> dict[str, Any]:
    """What the page has drawn, once two looks in a row are the same: a busy machine takes its time.

    A classic node that gets a picture is made higher as the picture is drawn, and is drawn as high the next time only.
    Runs and a mouse make the page draw again and again; here it is asked to before each look.
    """
    drawn = None
    for _ in range(MOST_LOOKS):
        page.evaluate(DRAW)
        page.wait_for_timeout(SETTLING_MILLISECONDS)
        before, drawn = drawn, page.evaluate(MEASURE)
        if drawn == before:
            break
    return drawn


def assess(drawn: dict[str, Any]) -> Measured:
    """What is wrong with the nodes, frames and links that the page has drawn."""
    nodes, groups = drawn["nodes"], drawn["groups"]
    faults = [f"{one['title']} and {other['title']} overlap by {depth:.0f}"
              for place, one in enumerate(nodes) for other in nodes[:place]
              if (depth := overlap(one["box"], other["box"])) > TOLERANCE]
    faults += [f"the title of {node['title']} is cut off" for node in nodes if node["cut"]]
    faults += [f"the title of the frame {group['title']} leaves it by {beyond:.0f}" for group in groups
               if (beyond := group["written"] - group["box"][2]) > TOLERANCE]
    held: dict[int, float] = dict.fromkeys(range(len(groups)), 0.0)
    for node in nodes:
        left, top, width, height = node["box"]
        home = next((place for place, group in enumerate(groups) if overlap(group["box"], (left, top, 1, 1)) > 0), None)
        if home is None:
            faults.append(f"{node['title']} is in no frame")
        else:
            held[home] += width * height
            if (beyond := leaves(node["box"], groups[home]["box"])) > TOLERANCE:
                faults.append(f"{node['title']} leaves the frame {groups[home]['title']} by {beyond:.0f}")
    faults += [f"the frames {one['title']} and {other['title']} overlap"
               for place, one in enumerate(groups) for other in groups[:place] if overlap(one["box"], other["box"]) > 0]
    if drawn["zoom"] < SMALLEST_ZOOM:
        faults.append(f"it opens at {drawn['zoom']:.3f}, below {SMALLEST_ZOOM}: no text is drawn")
    boxes = [item["box"] for item in groups or nodes]
    shares = [(held[place] / (group["box"][2] * group["box"][3]), group["title"])
              for place, group in enumerate(groups)]
    width, height = (max(box[axis] + box[axis + 2] for box in boxes) - min(box[axis] for box in boxes)
                     for axis in (0, 1))
    return Measured(drawn["zoom"], tuple(faults), crossings(drawn["links"]), width, height,
                    min(shares, default=(1.0, "")))


def overlap(one: Box, other: Box) -> float:
    """How deep two boxes (left, top, width, height) lie in each other, along the axis that parts them soonest."""
    return min(min(one[axis] + one[axis + 2], other[axis] + other[axis + 2]) - max(one[axis], other[axis])
               for axis in (0, 1))


def leaves(inner: Box, outer: Box) -> float:
    """How far a box reaches beyond another."""
    return max(max(outer[axis] - inner[axis], inner[axis] + inner[axis + 2] - outer[axis] - outer[axis + 2])
               for axis in (0, 1))


def crossings(links: list[list[float]]) -> int:
    """How many pairs of links (origin, target, x, y, x', y') cross, without those that share an end."""
    return sum(_cross(one[2:], other[2:]) for place, one in enumerate(links) for other in links[:place]
               if one[0] != other[0] and one[1] != other[1])


def _cross(one: list[float], other: list[float]) -> bool:
    return _parts(one, other) and _parts(other, one)


def _parts(line: list[float], ends: list[float]) -> bool:
    """Whether the ends of a second line lie on both sides of the first."""
    x, y, far_x, far_y = line
    sides = [(far_x - x) * (ends[place + 1] - y) - (far_y - y) * (ends[place] - x) for place in (0, 2)]
    return sides[0] * sides[1] < 0


def open_page(browser: Any, address: str) -> Any:
    """A page of ComfyUI at 1920 x 1080 that has opened what it opens with."""
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    page.set_default_timeout(START_SECONDS * 1000)
    page.goto(address, wait_until="domcontentloaded")
    page.wait_for_function(OPENED)
    return page


def chromium() -> str | None:
    """Where a Chromium is."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="measure_pages.py", description=__doc__.splitlines()[0])
    parser.add_argument("names", metavar="NAME", nargs="*", help="a workflow of example_workflows/ (default: all)")
    parser.add_argument("--server", metavar="URL", help="a running ComfyUI with this pack (default: one is started)")
    parser.add_argument("--pictures", metavar="FOLDER", type=Path, help="write a screenshot of each")
    options = parser.parse_args(arguments)
    environment = environments.prepare(say)
    if Path(sys.prefix).resolve() != environment.python.parent.parent.resolve():
        return run_child([str(environment.python), str(Path(__file__).resolve()), *arguments], Path.cwd(),
                         variables(environment))
    if chromium() is None:
        raise Explained("There is no chromium, chromium-browser or google-chrome here.")
    if options.server:
        return _measure_all(options, options.server)
    with comfy_server.start(environment, workspace.default_base()) as server:
        server.skip_tour()
        return _measure_all(options, server.address)


def _measure_all(options: argparse.Namespace, address: str) -> int:
    from playwright.sync_api import sync_playwright

    faults = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--no-proxy-server"])
        for mode, vue in MODES.items():
            page = open_page(browser, address)
            before = page.evaluate(HAS_VUE)  # the server keeps what is set for every page that follows
            page.evaluate(SET_VUE, vue)
            try:
                faults += _measure_in(page, mode, options)
            finally:
                page.evaluate(SET_VUE, before)
                page.close()
        browser.close()
    return int(faults > 0)


def _measure_in(page: Any, mode: str, options: argparse.Namespace) -> int:
    """Measure all workflows in a page and say how each lies; gives the number of faults."""
    faults = 0
    for name in options.names or sorted(path.stem for path in page_workflow.FOLDER.glob("*.json")):
        found = measure(page, page_workflow.read_page(name), name)
        faults += len(found.faults)
        say(f"{name} ({mode}): zoom {found.zoom:.3f}, {found.width:.0f} x {found.height:.0f}, "
            f"{found.crossings} crossings, fills {found.filled[0]:.0%} of {found.filled[1]}")
        for fault in found.faults:
            say(f"  {fault}")
        if options.pictures:
            options.pictures.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=options.pictures / f"{name}_{mode}.png")
    return faults


if __name__ == "__main__":
    run(main)
