"""A ComfyUI with this pack, and a headless Chromium."""
import os
import sys
from pathlib import Path

import pytest

import comfy_server
import measure_pages
import workspace
from environment import Environment


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A ComfyUI in a folder of its own, with this pack and the demo checkpoint."""
    base = workspace.make_base(tmp_path_factory.mktemp("comfyui"))
    checkpoint = Path(os.environ["MENTAL_AVERAGES_CHECKPOINT"]).resolve()
    (base / "models" / "checkpoints" / workspace.DEMO_CHECKPOINT).symlink_to(checkpoint)
    environment = Environment(Path(sys.executable), Path(os.environ["MENTAL_AVERAGES_COMFYUI"]))
    with comfy_server.start(environment, base) as running:
        # At the first visit of all the page opens the template browser itself; this is the second.
        running.post("/settings", {"Comfy.TutorialCompleted": True})
        yield running


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
