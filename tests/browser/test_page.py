"""ComfyUI's own page in headless Chromium: the template is found, runs, and shows its sheet."""
import json
import re

import pytest

import workspace
from measure_pages import OPENED

TEMPLATE = "01_mental_average_beside_other_averages"
START_SECONDS, RUN_SECONDS = 90, 600

# What the page is asked: values of widgets, by the titles of their nodes.
SET_WIDGETS = """values => {
    for (const [title, widget, value] of values)
        app.graph.nodes.find(node => node.title === title).widgets.find(item => item.name === widget).value = value
}"""
SHOWN_PICTURE = "title => app.graph.nodes.find(node => node.title === title)?.imgs?.[0]?.naturalHeight"
CHOSEN = """name => app.extensionManager.workflow.activeWorkflow?.path?.includes(name)
    && app.graph.nodes.some(node => node.type === 'AlignTrajectories')"""
# Asked of the document at each try: the page puts another element in the place of a picture that it loads late.
SHOWN_THUMBNAIL = """card => {
    const image = document.querySelector(`[data-testid="${card}"] img`)
    return image && image.complete && image.naturalWidth > 0
}"""
# What the page complains of in a fresh folder, whatever is done in it, and at no certain time: a user's files that are
# not there, the models of the workflow that it opens with, and its own order of things.
OF_A_FRESH_FOLDER = re.compile(r"/userdata\b|/user\.css|huggingface\.co/Comfy-Org/|accessed before initialization")


def test_template_runs_and_shows_its_sheet(server, browser):
    """From the pack's entry in the template browser to the sheet, without an error in the page's console."""
    page = browser.new_page(viewport={"width": 1600, "height": 900})
    errors = []
    page.on("console", lambda message: message.type == "error" and errors.append(f"{message.text} {message.location}"))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(START_SECONDS * 1000)
    page.goto(server.address, wait_until="domcontentloaded")
    page.wait_for_function(OPENED)

    page.get_by_role("button", name="Templates").first.click()
    page.get_by_text("Diffusion Mental Averages", exact=True).first.click()
    card = page.get_by_test_id(f"template-workflow-{TEMPLATE}")
    card.wait_for()
    # A thumbnail that is missing is an error in the console, and another picture in its place.
    page.wait_for_function(SHOWN_THUMBNAIL, arg=f"template-workflow-{TEMPLATE}")

    card.click()
    page.wait_for_function(CHOSEN, arg=TEMPLATE)
    assert page.evaluate("() => app.graph.nodes.filter(node => node.has_errors).map(node => node.type)") == []
    page.evaluate(SET_WIDGETS, [["Size", "batch_size", 2], ["Align trajectories", "count", 2],
                                ["Align trajectories", "preset", "draft"],
                                ["Mental average by mean shift", "count", 2]])
    page.get_by_test_id("queue-button").click()
    try:
        page.wait_for_function(SHOWN_PICTURE, arg="Sheet", timeout=RUN_SECONDS * 1000)
    except Exception as failure:
        pytest.fail(f"The sheet did not appear: {failure}\nThe page's errors: {errors}\n{server.log(15)}")
    assert page.evaluate(SHOWN_PICTURE, "Sheet") > 7 * 128  # seven rows
    for title in ("Aligned average", "Average by mean shift", "Report"):
        page.wait_for_function(SHOWN_PICTURE, arg=title, timeout=RUN_SECONDS * 1000)
    page.close()
    assert [error for error in errors if workspace.PACK_NAME in error or not OF_A_FRESH_FOLDER.search(error)] == []


@pytest.mark.parametrize("name", sorted(path.stem for path in (workspace.PACK / "example_workflows").glob("*.json")))
def test_page_queues_what_the_api_form_says(server, browser, name):
    """The page reads every example workflow, nested inputs and all, and would queue exactly its API twin."""
    folder = workspace.PACK / "example_workflows"
    api = json.loads((folder / "api" / f"{name}.json").read_text(encoding="utf-8"))
    page = browser.new_page()
    page.set_default_timeout(START_SECONDS * 1000)
    page.goto(server.address, wait_until="domcontentloaded")
    page.wait_for_function(OPENED)
    queued = page.evaluate("async workflow => { await app.loadGraphData(workflow); return (await "
                           "app.graphToPrompt()).output }",
                           json.loads((folder / f"{name}.json").read_text(encoding="utf-8")))
    page.close()
    assert queued.keys() == api.keys()
    for key, node in api.items():
        assert queued[key]["class_type"] == node["class_type"]
        assert queued[key]["inputs"] == node["inputs"], (key, node["class_type"])


# A new node of a kind on an empty page.
NEW_NODE = """kind => { app.graph.clear(); const node = LiteGraph.createNode(kind); app.graph.add(node) }"""
CHOOSE = """([name, value]) => {
    const widget = app.graph.nodes[0].widgets.find(widget => widget.name === name)
    widget.value = value
    widget.callback?.(value)
}"""
WIDGETS = """() => Object.fromEntries(
    app.graph.nodes[0].widgets.map(widget => [widget.name, widget.label ?? widget.name]))"""
RELOADED = "async () => { await app.loadGraphData(app.graph.serialize()); return (await app.graphToPrompt()).output }"
QUEUED = "async () => (await app.graphToPrompt()).output"


@pytest.fixture
def page(server, browser):
    page = browser.new_page()
    page.set_default_timeout(START_SECONDS * 1000)
    page.goto(server.address, wait_until="domcontentloaded")
    page.wait_for_function(OPENED)
    yield page
    page.close()


def test_a_preset_brings_the_widgets_that_have_an_effect(page):
    page.evaluate(NEW_NODE, "AlignTrajectories")
    own = lambda: {name: label for name, label in page.evaluate(WIDGETS).items() if name.startswith("preset")}  # noqa: E731
    assert next(iter(page.evaluate(WIDGETS))) == "preset" and list(own()) == ["preset", "preset.keep"]
    page.evaluate(CHOOSE, ["preset", "draft"])
    assert list(own()) == ["preset"]
    page.evaluate(CHOOSE, ["preset", "custom"])
    assert "preset.solver.learning_rate" not in own() and own()["preset.own_noise"] == "share of own noise"
    assert own()["preset.carried"] == "carried on"
    page.evaluate(CHOOSE, ["preset.solver", "Adam"])
    page.evaluate(CHOOSE, ["preset.solver.learning_rate", 0.05])
    page.evaluate(CHOOSE, ["preset.iterations", 7])
    before = page.evaluate(QUEUED)
    inputs, = (node["inputs"] for node in before.values())
    assert (inputs["preset"], inputs["preset.solver"], inputs["preset.solver.learning_rate"],
            inputs["preset.iterations"], inputs["count"]) == ("custom", "Adam", 0.05, 7, 64)
    # Saved and opened again.
    assert page.evaluate(RELOADED) == before
    page.evaluate(CHOOSE, ["preset.solver", "L-BFGS"])
    assert "preset.solver.learning_rate" not in own() and "preset.iterations" in own()
    page.evaluate(CHOOSE, ["preset", "standard"])
    assert list(own()) == ["preset", "preset.keep"]


def test_an_inversion_has_a_seed_only_where_it_draws_noise(page):
    page.evaluate(NEW_NODE, "DDIMInvert")
    plain = page.evaluate(WIDGETS)
    assert not any("seed" in name or "control" in name for name in plain)
    page.evaluate(CHOOSE, ["method", "dpm_encoder"])
    assert "method.seed" in page.evaluate(WIDGETS)
    before = page.evaluate(QUEUED)
    assert page.evaluate(RELOADED) == before
    page.evaluate(CHOOSE, ["method", "ddim"])
    assert page.evaluate(WIDGETS) == plain, "nothing is left behind"


def test_the_sentence_of_an_error_is_shown_at_once(page):
    file = workspace.PACK / "example_workflows" / "11_the_same_average_from_every_seed.json"
    workflow = json.loads(file.read_text(encoding="utf-8"))
    node = next(node for node in workflow["nodes"] if node["type"] == "MentalAverage")
    place = node["widgets_values"].index(-1.0)  # restored_noise
    node["widgets_values"][place] = -0.5
    page.evaluate("workflow => app.loadGraphData(workflow)", workflow)
    page.get_by_test_id("queue-button").click()
    toast = page.locator(".p-toast").get_by_text("restored_noise is -0.5: choose a share from 0 to 1")
    toast.wait_for(timeout=RUN_SECONDS * 1000)
    assert page.locator(".p-toast").get_by_text("Mental Average", exact=True).count()
