"""A ComfyUI with this pack, and a headless Chromium."""
import os
import re
import sys
from pathlib import Path

import pytest

import comfy_server
import frontend
import measure_pages
import workspace
from console import Explained
from environment import Environment

# What the page complains of in a fresh folder, whatever is done in it, and at no certain time: a user's files that are
# not there, the models of the workflow that it opens with, and its own order of things.
OF_A_FRESH_FOLDER = re.compile(r"/userdata\b|/user\.css|huggingface\.co/Comfy-Org/|accessed before initialization")
OF_THE_FIRST_TEMPLATE = "v1-5-pruned-emaonly-fp16.safetensors"  # the checkpoint that it opens with


@pytest.fixture(scope="session", params=["pinned", "newest"])
def server(request, tmp_path_factory):
    """A ComfyUI in a folder of its own, with this pack and the demo checkpoint: with the page that it names, and with
    the newest one that the package index has."""
    base = workspace.make_base(tmp_path_factory.mktemp("comfyui"))
    checkpoint = Path(os.environ["MENTAL_AVERAGES_CHECKPOINT"]).resolve()
    for name in (workspace.DEMO_CHECKPOINT, OF_THE_FIRST_TEMPLATE):
        (base / "models" / "checkpoints" / name).symlink_to(checkpoint)
    environment = Environment(Path(sys.executable), Path(os.environ["MENTAL_AVERAGES_COMFYUI"]))
    with comfy_server.start(environment, base, extra_args=page_of(environment, request.param)) as running:
        running.skip_tour()
        yield running


def page_of(environment, which):
    """The server's arguments for a page."""
    if which == "pinned":
        return []
    try:
        return ["--front-end-root", str(frontend.newest(environment, print))]
    except Explained as failure:
        pytest.skip(f"There is no newest page of ComfyUI here. {failure}")


@pytest.fixture(scope="module", params=measure_pages.MODES)
def mode_page(request, server, browser):
    """A page with classic nodes, or with Vue nodes."""
    opened = measure_pages.open_page(browser, server.address)
    opened.evaluate(measure_pages.SET_VUE, measure_pages.MODES[request.param])
    yield opened
    # The server keeps the setting for every page that is opened after this one.
    opened.evaluate(measure_pages.SET_VUE, False)
    opened.close()


@pytest.fixture
def complaints(mode_page):
    """What the page says of errors during a test."""
    heard = []

    def of_console(message):
        said = f"{message.text} {message.location}"
        if message.type == "error" and (workspace.PACK_NAME in said or not OF_A_FRESH_FOLDER.search(said)):
            heard.append(said)

    def of_script(error):
        heard.append(f"{error} {error.stack}")

    mode_page.on("console", of_console)
    mode_page.on("pageerror", of_script)
    yield heard
    mode_page.remove_listener("console", of_console)
    mode_page.remove_listener("pageerror", of_script)


# Not longer than its module: Playwright has an event loop running in the thread for as long as it is there.
@pytest.fixture(scope="module")
def browser():
    if measure_pages.chromium() is None:
        pytest.skip("There is no chromium, chromium-browser or google-chrome here.")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium has no sandbox for root, and a proxy for the internet must not be asked for this machine.
        chromium = playwright.chromium.launch(executable_path=measure_pages.chromium(),
                                              args=["--no-sandbox", "--no-proxy-server"])
        yield chromium
        chromium.close()
