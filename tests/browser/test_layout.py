"""How workflows lie on ComfyUI's page, and what of it is a fault. In test_templates.py all of the pack are measured."""
import measure_pages
import page_workflow

NAMES = sorted(path.stem for path in page_workflow.FOLDER.glob("*.json"))


def test_a_workflow_that_lies_badly_is_found_out_in_the_page(mode_page):
    workflow = page_workflow.read_page("11_the_same_average_from_every_seed")
    first, second = (node for node in workflow["nodes"] if node["type"] == "CLIPTextEncode")
    second["pos"] = [first["pos"][0] + 40, first["pos"][1] + 40]
    workflow["nodes"][-1]["pos"] = [9000, 0]
    faults = measure_pages.measure(mode_page, workflow, "bad").faults
    assert any("overlap by" in fault for fault in faults)
    assert any("is in no frame" in fault for fault in faults)
    assert any("no text is drawn" in fault for fault in faults)


def test_titles_that_are_not_seen_whole_are_found_out_in_the_page(mode_page):
    workflow = page_workflow.read_page("11_the_same_average_from_every_seed")
    assert not any("title" in fault for fault in measure_pages.measure(mode_page, workflow, "good").faults)
    folded = next(node for node in workflow["nodes"] if node["flags"].get("collapsed"))
    opened = next(node for node in workflow["nodes"] if node["type"] == "KSampler")
    folded["title"], opened["title"] = "One letter too many: X", "A title for which this node is by far not wide enough"
    workflow["groups"][0]["title"] = "A title for which this frame is by far not wide enough"
    faults = measure_pages.measure(mode_page, workflow, "bad").faults
    assert {f"the title of {node['title']} is cut off" for node in (folded, opened)} <= set(faults)
    assert any(fault.startswith("the title of the frame A title for which") for fault in faults)


def test_a_node_that_its_picture_makes_higher_is_measured_as_high_as_it_becomes(mode_page):
    workflow = page_workflow.read_page("12_family_tree_of_a_prompt")
    tree, mode = (next(node for node in workflow["nodes"] if node["type"] == kind)
                  for kind in ("ModeTree", "SelectMode"))
    # Where the classic page has room until the picture is there: it gives nodes of changing inputs their least height.
    mode["pos"] = [tree["pos"][0], tree["pos"][1] + tree["size"][1] - 120]
    faults = measure_pages.measure(mode_page, workflow, "bad").faults
    assert any(fault.startswith(f"{mode['title']} and {tree['title']} overlap by") for fault in faults)


def drawn(*boxes, zoom=0.6, links=(), written=50, cut=()):
    return {"zoom": zoom, "links": list(links),
            "groups": [{"title": "frame", "box": (0, 0, 100, 100), "written": written}],
            "nodes": [{"id": number, "title": str(number), "box": box, "cut": number in cut}
                      for number, box in enumerate(boxes)]}


def test_faults_by_hand():
    assert measure_pages.assess(drawn((10, 10, 20, 20), (40, 10, 20, 20))).faults == ()
    assert measure_pages.assess(drawn((10, 10, 20, 20), (25, 10, 20, 20))).faults == ("1 and 0 overlap by 5",)
    assert measure_pages.assess(drawn((90, 10, 20, 20))).faults == ("0 leaves the frame frame by 10",)
    assert measure_pages.assess(drawn((200, 10, 20, 20))).faults == ("0 is in no frame",)
    assert measure_pages.assess(drawn((10, 10, 20, 20), cut=[0])).faults == ("the title of 0 is cut off",)
    assert measure_pages.assess(drawn((10, 10, 20, 20), written=130)).faults == (
        "the title of the frame frame leaves it by 30",)
    assert measure_pages.assess(drawn((10, 10, 20, 20), zoom=0.5)).faults == (
        "it opens at 0.500, below 0.571: no text is drawn",)


def test_figures_by_hand():
    links = [[1, 2, 0, 0, 10, 10], [3, 4, 0, 10, 10, 0], [1, 5, 0, 8, 10, 8]]
    found = measure_pages.assess(drawn((10, 10, 20, 20), (40, 10, 20, 20), links=links))
    assert found.crossings == 2  # the first two, and the last two: the first and the last come from one node
    assert (found.width, found.height) == (100, 100)
    assert found.filled == (0.08, "frame")


def test_folded_nodes_have_titles_that_the_classic_page_draws_whole():
    titles = [(name, node["title"]) for name in NAMES for node in page_workflow.read_page(name)["nodes"]
              if node["flags"].get("collapsed")]
    assert [title for title in titles if len(title[1]) > measure_pages.FOLDED_LETTERS] == []


def test_no_workflow_is_larger_than_what_the_page_shows_readably():
    for name in NAMES:
        frames = [group["bounding"] for group in page_workflow.read_page(name)["groups"]]
        assert max(left + width for left, _, width, _ in frames) <= 2470, name
        assert max(top + height for _, top, _, height in frames) <= 1430, name
