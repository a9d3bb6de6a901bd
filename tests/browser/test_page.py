"""ComfyUI's own page in headless Chromium: inputs that come and go, and the sentence of an error."""
import json

import workspace

RUN_SECONDS = 600

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


def test_a_preset_brings_the_widgets_that_have_an_effect(mode_page):
    mode_page.evaluate(NEW_NODE, "AlignTrajectories")
    own = lambda: {name: label for name, label in mode_page.evaluate(WIDGETS).items() if name.startswith("preset")}  # noqa: E731
    assert next(iter(mode_page.evaluate(WIDGETS))) == "preset" and list(own()) == ["preset", "preset.keep"]
    mode_page.evaluate(CHOOSE, ["preset", "draft"])
    assert list(own()) == ["preset"]
    mode_page.evaluate(CHOOSE, ["preset", "custom"])
    assert "preset.solver.learning_rate" not in own() and own()["preset.own_noise"] == "share of own noise"
    assert own()["preset.carried"] == "carried on"
    mode_page.evaluate(CHOOSE, ["preset.solver", "Adam"])
    mode_page.evaluate(CHOOSE, ["preset.solver.learning_rate", 0.05])
    mode_page.evaluate(CHOOSE, ["preset.iterations", 7])
    before = mode_page.evaluate(QUEUED)
    inputs, = (node["inputs"] for node in before.values())
    assert (inputs["preset"], inputs["preset.solver"], inputs["preset.solver.learning_rate"],
            inputs["preset.iterations"], inputs["count"]) == ("custom", "Adam", 0.05, 7, 64)
    # Saved and opened again.
    assert mode_page.evaluate(RELOADED) == before
    mode_page.evaluate(CHOOSE, ["preset.solver", "L-BFGS"])
    assert "preset.solver.learning_rate" not in own() and "preset.iterations" in own()
    mode_page.evaluate(CHOOSE, ["preset", "standard"])
    assert list(own()) == ["preset", "preset.keep"]


def test_an_inversion_has_a_seed_only_where_it_draws_noise(mode_page):
    mode_page.evaluate(NEW_NODE, "DDIMInvert")
    plain = mode_page.evaluate(WIDGETS)
    assert not any("seed" in name or "control" in name for name in plain)
    mode_page.evaluate(CHOOSE, ["method", "dpm_encoder"])
    assert "method.seed" in mode_page.evaluate(WIDGETS)
    before = mode_page.evaluate(QUEUED)
    assert mode_page.evaluate(RELOADED) == before
    mode_page.evaluate(CHOOSE, ["method", "ddim"])
    assert mode_page.evaluate(WIDGETS) == plain, "nothing is left behind"


def test_the_sentence_of_an_error_is_shown_at_once(mode_page):
    file = workspace.PACK / "example_workflows" / "11_the_same_average_from_every_seed.json"
    workflow = json.loads(file.read_text(encoding="utf-8"))
    node = next(node for node in workflow["nodes"] if node["type"] == "MentalAverage")
    place = node["widgets_values"].index(-1.0)  # restored_noise
    node["widgets_values"][place] = -0.5
    mode_page.evaluate("workflow => app.loadGraphData(workflow)", workflow)
    mode_page.get_by_test_id("queue-button").click()
    toast = mode_page.get_by_text("restored_noise is -0.5: choose a share from 0 to 1").first
    toast.wait_for(timeout=RUN_SECONDS * 1000)
    assert mode_page.get_by_text("Mental Average", exact=True).count()
