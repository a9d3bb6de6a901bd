"""Every example workflow on ComfyUI's page, as pinned and as newest, with classic and Vue nodes."""
import json

import pytest

import measure_pages
import page_workflow

NAMES = sorted(path.stem for path in page_workflow.FOLDER.glob("*.json"))
RUN_SECONDS = 600

QUEUED = "async () => (await app.graphToPrompt()).output"
RELOADED = """async () => {
    await app.loadGraphData(JSON.parse(JSON.stringify(app.graph.serialize())))
    return (await app.graphToPrompt()).output
}"""
# Nodes that the page marks or does not know, by their kinds.
MARKED = """() => app.graph.nodes.filter(node => node.has_errors || !LiteGraph.registered_node_types[node.type])
    .map(node => node.type)"""
# Sets inputs by the titles of their nodes, as a user does.
SET_WIDGETS = """values => {
    for (const [title, widget, value] of values) {
        const found = app.graph.nodes.find(node => node.title === title).widgets.find(item => item.name === widget)
        found.value = value
        found.callback?.(value)
    }
}"""
SHOWN_PICTURE = """title => {
    const node = app.graph.nodes.find(node => node.title === title)
    const image = LiteGraph.vueNodesMode ? document.querySelector(`[data-node-id="${node?.id}"] img`) : node?.imgs?.[0]
    return image?.naturalHeight
}"""
CHOSEN = "([name, kind]) => app.extensionManager.workflow.activeWorkflow?.path?.includes(name) "  \
         "&& app.graph.nodes.some(node => node.type === kind)"
# Asked of the document at each try: the page puts another element in the place of a picture that it loads late.
SHOWN_THUMBNAIL = """card => {
    const image = document.querySelector(`[data-testid="${card}"] img`)
    return image && image.complete && image.naturalWidth > 0
}"""


@pytest.mark.parametrize("name", NAMES)
def test_a_template_opens_lies_well_and_is_queued_as_its_api_twin_says_also_when_saved(mode_page, complaints, name):
    api = json.loads((page_workflow.FOLDER / "api" / f"{name}.json").read_text(encoding="utf-8"))
    faults = measure_pages.measure(mode_page, page_workflow.read_page(name), name).faults
    assert mode_page.evaluate(MARKED) == []
    for queued in (mode_page.evaluate(QUEUED), mode_page.evaluate(RELOADED)):
        assert {key: (node["class_type"], node["inputs"]) for key, node in queued.items()} == {
            key: (node["class_type"], node["inputs"]) for key, node in api.items()}
    assert complaints == []
    assert faults == ()


@pytest.mark.parametrize("name, kind, values, pictures", [
    ("00_mental_average_of_a_prompt", "MentalAverage",
     [("Size", "width", 64), ("Size", "height", 64), ("Mental average", "count", 2), ("Mental average", "steps", 8)],
     {"What the model thinks of": 64}),
    ("01_mental_average_beside_other_averages", "AlignTrajectories",
     [("Size", "batch_size", 2), ("Align trajectories", "count", 2), ("Align trajectories", "preset", "draft"),
      ("Mental average by mean shift", "count", 2)],
     {"Sheet": 7 * 128, "Aligned average": 64, "Average by mean shift": 512, "Report": 64}),
    ("12_family_tree_of_a_prompt", "ModeTree",
     [("Family tree", name, value) for name, value in (("count", 4), ("steps", 8), ("cut.modes", 2), ("noises", 4),
                                                       ("iterations", 4), ("levels", "2"))],
     {"Tree": 64, "Modes of the chosen level": 64, "Samples of the largest mode": 64}),
])
def test_a_template_is_found_runs_and_shows_its_pictures(server, mode_page, complaints, name, kind, values, pictures):
    """From the pack's entry in the template browser to the pictures, without an error in the page's console."""
    page = mode_page
    page.get_by_role("button", name="Templates").first.click()
    page.get_by_text("Diffusion Mental Averages", exact=True).first.click()
    card = page.get_by_test_id(f"template-workflow-{name}")
    card.scroll_into_view_if_needed()  # pictures of cards that are out of sight are not loaded
    # A thumbnail that is missing is an error in the console, and another picture in its place.
    page.wait_for_function(SHOWN_THUMBNAIL, arg=f"template-workflow-{name}")
    card.click()
    page.wait_for_function(CHOSEN, arg=[name, kind])
    assert page.evaluate(MARKED) == []

    page.evaluate(SET_WIDGETS, values)
    page.get_by_test_id("queue-button").click()
    for title, height in pictures.items():
        try:
            page.wait_for_function(SHOWN_PICTURE, arg=title, timeout=RUN_SECONDS * 1000)
        except Exception as failure:
            pytest.fail(f"{title} did not appear: {failure}\nThe page's errors: {complaints}\n{server.log(15)}")
        assert page.evaluate(SHOWN_PICTURE, title) >= height, title
    assert complaints == []
