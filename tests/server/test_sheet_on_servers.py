"""tools/sheet_on_servers.py on two real servers: every cell once, safe to repeat, and no cell lost with a server."""
import contextlib
import http.server
import json
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import graphs
import numpy as np
import pytest

import comfy_server
import pack
import sheet_cells
import sheet_on_servers
import workspace
from console import Explained
from remote_server import RemoteServer

WORDS = "red heart\ncat face"
DAMAGED = "damaged.safetensors"


def sheet(names, **change):
    settings = dict(words=WORDS, template="{}", negative_prompt="", columns="checkpoints", width=64, height=64, count=4,
                    samples=0, steps=6, cfg=3.0, scheduler="normal", seed=1, averaged_steps=2, attributes="none",
                    cell=128, resume=True)
    return {"sheet": graphs.node("ConceptSheet", **{**settings, "columns.names": names, **change}),
            "picture": graphs.node("SaveImage", images=["sheet", 0], filename_prefix="sheet")}


@pytest.fixture(scope="module")
def two(environment, make_base, checkpoint):
    """Two servers with both demo checkpoints, and folders of their own."""
    running = []
    try:
        for _ in range(2):
            base = make_base()
            workspace.add_checkpoint(base, pack.demo_transformer())
            (base / "models" / "checkpoints" / DAMAGED).write_bytes(pack.demo_transformer().read_bytes()[:50_000])
            running.append(comfy_server.start(environment, base))
        yield running
    finally:
        for server in running:
            server.stop()


@pytest.fixture
def graph(tmp_path, checkpoint):
    """The file of a small sheet of two words by both checkpoints, one of them without its ending."""
    names = f"{checkpoint}\n{pack.demo_transformer().stem}"
    path = tmp_path / "sheet.json"
    path.write_text(json.dumps(sheet(names)), encoding="utf-8")
    return path


def drawn(graph, servers, folder):
    return sheet_on_servers.main([str(graph), "--servers", ",".join(server.address for server in servers),
                                  "--output", str(folder)])


def prompts_of(server):
    """Of each graph that a server has run: how many nodes ran."""
    return {key: entry["status"]["status_str"] for key, entry in server.get("/history").items()}


def test_every_cell_is_drawn_once_where_its_checkpoint_is(two, graph, tmp_path, checkpoint):
    folder = tmp_path / "sheet"
    assert drawn(graph, two, folder) == 0
    listed = json.loads((folder / "cells.json").read_text())
    assert [(cell["word"], cell["checkpoint"]) for cell in listed] == [
        (word, name) for name in (checkpoint, pack.demo_transformer().name) for word in WORDS.splitlines()]
    pictures = [graphs.pixels(folder / cell["picture"]) for cell in listed]
    assert all(picture.std() > 5 for picture in pictures) and not np.array_equal(pictures[0], pictures[2])
    assert all("format" in json.loads((folder / cell["table"]).read_text()) for cell in listed)
    assert graphs.pixels(folder / "sheet_1.png").std() > 5
    ran = [prompts_of(server) for server in two]
    # Two words of one checkpoint at each server, and the sheet at the first.
    assert sorted(map(len, ran)) == [2, 3] and not ran[0].keys() & ran[1].keys()
    assert {state for each in ran for state in each.values()} == {"success"}
    # Again, into a folder that has lost one, and into another: nothing is drawn again but the sheet.
    (folder / listed[3]["picture"]).unlink()
    for place in (folder, tmp_path / "elsewhere"):
        assert drawn(graph, two, place) == 0
        assert np.array_equal(graphs.pixels(place / listed[3]["picture"]), pictures[3])
    keys = {cell["picture"].removesuffix(".png") for cell in listed}
    new = [prompts_of(server).keys() - each.keys() for server, each in zip(two, ran)]
    assert sum(map(len, new)) == 2 and not {key.replace("-", "") for each in new for key in each} & keys


def long_sheet(checkpoint, path, words="tree\nhouse\nwoman\napple", seed=4):
    """The file of a sheet whose cells take some seconds each."""
    path.write_text(json.dumps(sheet(checkpoint, count=48, words=words, seed=seed)), encoding="utf-8")
    return path


def test_cells_of_a_server_that_ends_are_drawn_by_the_other(environment, make_base, two, tmp_path, checkpoint,
                                                            monkeypatch):
    monkeypatch.setattr(sheet_on_servers, "LOST_AFTER", 3.0)
    path, found = long_sheet(checkpoint, tmp_path / "long.json"), []
    with comfy_server.start(environment, make_base()) as third:
        work = threading.Thread(target=lambda: found.append(drawn(path, [two[0], third], tmp_path / "sheet")))
        work.start()
        end = time.monotonic() + graphs.RUN_SECONDS
        while not RemoteServer(third.address).waiting():
            assert time.monotonic() < end and work.is_alive()
            time.sleep(0.05)
        third.kill()
        work.join(timeout=graphs.RUN_SECONDS)
    listed = json.loads((tmp_path / "sheet" / "cells.json").read_text())
    assert found == [0] and len(listed) == 4 and not any("problem" in cell for cell in listed)


def test_what_an_earlier_call_has_left_is_taken_up_and_drawn_once(two, tmp_path, checkpoint):
    """One cell is under way at both servers, as after a loss, and one at the second; the third is nowhere."""
    graph = json.loads(long_sheet(checkpoint, tmp_path / "long.json", words="sun\nfish\nboat", seed=5).read_text())
    both, second, third = wanted = sheet_cells.cells(graph, [checkpoint], "sheet_cells")
    first, other = places = [sheet_on_servers.Place(RemoteServer(server.address)) for server in two]
    for place, cells in ((first, [both]), (other, [both, second])):
        for cell in cells:
            place.server.queue(cell.prompt_id, cell.graph)
    assert sheet_on_servers.draw(wanted, places, tmp_path / "sheet", "sheet_cells") == {}
    states = [prompts_of(server) for server in two]
    drawn_by = {cell: [each.get(cell.prompt_id) for each in states].count("success") for cell in wanted}
    assert drawn_by == {both: 1, second: 1, third: 1}
    assert states[0][both.prompt_id] == "success" and states[1][second.prompt_id] == "success"


def test_a_cell_that_fails_is_grey_and_the_others_are_drawn(two, tmp_path, checkpoint):
    path = tmp_path / "sheet.json"
    path.write_text(json.dumps(sheet(f"{DAMAGED}\n{checkpoint}", words="red heart")), encoding="utf-8")
    folder = tmp_path / "sheet"
    assert drawn(path, two, folder) == 1
    broken, good = json.loads((folder / "cells.json").read_text())
    assert "could be drawn" in broken["problem"] and graphs.pixels(folder / good["picture"]).std() > 5
    page = graphs.pixels(folder / "sheet_1.png")
    grey = (page == 128).all(-1)
    assert grey[:, : page.shape[1] // 2].sum() > 100**2 > grey[:, page.shape[1] // 2 :].sum()


def test_what_cannot_be_drawn_is_said(two, graph, tmp_path):
    content = json.loads(graph.read_text())
    other = tmp_path / "other.json"
    for change, message in (({"columns.names": "nothing"}, "has no checkpoint 'nothing'"),
                            ({"columns": "loras"}, "are to be checkpoints, but are 'loras'"),
                            ({"words": ["elsewhere", 0]}, "in place of a link")):
        changed = {**content, "sheet": graphs.node("ConceptSheet", **{**content["sheet"]["inputs"], **change})}
        other.write_text(json.dumps(changed), encoding="utf-8")
        with pytest.raises(Explained, match=message):
            drawn(other, two, tmp_path / "sheet")
    with pytest.raises(Explained, match="None of the servers answers"):
        sheet_on_servers.main([str(graph), "--servers", "http://127.0.0.1:9", "--output", str(tmp_path)])
    failing = {**content, "sheet": graphs.node("ConceptSheet", **{**content["sheet"]["inputs"], "width": 8})}
    other.write_text(json.dumps(failing), encoding="utf-8")
    with pytest.raises(Explained, match="refuses the graph"):
        drawn(other, two, tmp_path / "sheet")


def test_cells_go_where_their_checkpoint_is_loaded():
    cells = [sheet_cells.Cell(word, name, f"{number:032x}", {})
             for number, (name, word) in enumerate((name, word) for name in "ab" for word in "xyz")]
    first, second = places = [sheet_on_servers.Place(RemoteServer(address)) for address in ("one", "two")]

    def give(place):
        cell = sheet_on_servers.following(place, left, places)
        place.given.append(cell)
        place.checkpoint = cell.checkpoint
        return cell.checkpoint + cell.word

    left = cells
    assert [give(place) for place in (first, second, first, second, first)] == ["ax", "bx", "ay", "by", "az"]
    assert give(first) == "bz", "what is left of another's"
    assert sheet_on_servers.following(second, left, places) is None


def test_names_are_those_that_the_node_would_take():
    known = ["a/epoch-10.safetensors", "a/epoch-2.safetensors", "b/epoch-2.safetensors", "base.ckpt"]
    for line, found in (("base", ["base.ckpt"]), ("epoch-10", known[:1]), ("a/*", [known[1], known[0]]),
                        ("epoch-2*", known[1:3]), ("a/epoch-2", known[1:2]), ("none", [])):
        assert sheet_cells.matches(line, known) == found
    with pytest.raises(Explained, match="may be each of a/epoch-2.safetensors, b/epoch-2.safetensors"):
        sheet_cells.matches("epoch-2", known)


def test_checkpoints_that_servers_do_not_have_alike_are_refused():
    graph = sheet("base")
    listed = {"http://one": {"base.ckpt": 5}, "http://two": {"base.ckpt": None}}
    assert sheet_cells.checkpoints(graph, listed) == ["base.ckpt"]
    with pytest.raises(Explained, match="base.ckpt is another file at http://two than at http://one"):
        sheet_cells.checkpoints(graph, {**listed, "http://two": {"base.ckpt": 6}})
    with pytest.raises(Explained, match="http://two lacks base.ckpt"):
        sheet_cells.checkpoints(graph, {**listed, "http://two": {}})


def test_files_that_are_not_whole_are_drawn_again(tmp_path):
    picture = b"\x89PNG\r\n\x1a\n" + bytes(20) + b"IEND\xaeB`\x82"
    assert sheet_cells.is_whole("a.png", picture) and not sheet_cells.is_whole("a.png", picture[:-3])
    assert sheet_cells.is_whole("a.json", b"{}") and not sheet_cells.is_whole("a.json", b'{"rows": [')


def test_addresses_are_servers_once_each():
    assert sheet_on_servers.addresses("10.0.0.2:8188, http://10.0.0.2:8188/,,https://x") == ["http://10.0.0.2:8188",
                                                                                             "https://x"]


@contextlib.contextmanager
def losing_the_first_answer(server):
    """The address of a way to a server on which the answer to the first prompt that is queued is lost."""
    lost = []

    class Way(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = urllib.request.Request(server.address + self.path, content if self.command == "POST" else None,
                                             {"Content-Type": self.headers.get("Content-Type") or "text/plain"})
            try:
                with urllib.request.urlopen(request) as answer:
                    code, found = answer.status, answer.read()
            except urllib.error.HTTPError as error:
                code, found = error.code, error.read()
            if self.path == "/prompt" and not lost:
                lost.append(content)
                self.close_connection = True
                return
            self.send_response(code)
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            self.wfile.write(found)

        do_POST = do_GET

        def log_message(self, *arguments):
            pass

    way = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Way)
    threading.Thread(target=way.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{way.server_port}", lost
    finally:
        way.shutdown()
        way.server_close()


def test_a_cell_whose_answer_was_lost_is_drawn_once(two, tmp_path, checkpoint):
    graph = json.loads(long_sheet(checkpoint, tmp_path / "long.json", words="moon", seed=6).read_text())
    cell, = wanted = sheet_cells.cells(graph, [checkpoint], "sheet_cells")
    with losing_the_first_answer(two[0]) as (address, lost):
        places = [sheet_on_servers.Place(RemoteServer(each)) for each in (address, two[1].address)]
        assert sheet_on_servers.draw(wanted, places, tmp_path / "sheet", "sheet_cells") == {}
    assert len(lost) == 1 and [cell.prompt_id in prompts_of(server) for server in two] == [True, False]


def test_a_server_is_not_lost_because_another_was_waited_for(monkeypatch):
    monkeypatch.setattr(sheet_on_servers, "LOST_AFTER", 30.0)
    now = time.monotonic()
    place = sheet_on_servers.Place(RemoteServer("http://one"))
    cell = sheet_cells.Cell("word", "name", f"{1:032x}", {})
    place.give(cell)
    work = sheet_on_servers.Work([cell], [place], Path(), "")
    sheet_on_servers.lose(place, work, OSError("once"), now)
    assert not place.lost and place.given == [cell]
    place.silent = now - 31
    sheet_on_servers.lose(place, sheet_on_servers.Work([cell], [place, sheet_on_servers.Place(RemoteServer("two"))],
                                                       Path(), ""), OSError("for long"), now)
    assert place.lost and not place.given


def test_another_prefix_makes_other_cells_and_is_a_folder():
    one, other = (sheet_cells.cells(sheet("base"), ["base"], prefix)[0] for prefix in ("one", "two"))
    assert one.key != other.key and one.prompt_id != other.prompt_id
    assert sheet_on_servers.checked_prefix("/a/b-1/") == "a/b-1"
    for prefix in ("", "/", "..", "a/../b", "a//b", "cats and dogs", "%date%", "a\\b"):
        with pytest.raises(Explained, match="--prefix is"):
            sheet_on_servers.checked_prefix(prefix)


def test_files_here_that_are_empty_are_fetched_again_and_a_full_disk_is_no_server_that_is_lost(tmp_path):
    cell = sheet_cells.Cell("word", "name", f"{1:032x}", {})
    for ending, content in ((".png", b"\x89PNG\r\n\x1a\n" + bytes(20) + b"IEND\xaeB`\x82"), (".json", b"{}")):
        sheet_on_servers.write(tmp_path / (cell.key + ending), content)
    assert sheet_on_servers.is_here(cell, tmp_path)
    (tmp_path / f"{cell.key}.png").write_bytes(b"")
    assert not sheet_on_servers.is_here(cell, tmp_path)
    with pytest.raises(Explained, match="cannot be written .*--output"):
        sheet_on_servers.write(tmp_path / "nowhere" / "a.png", b"")
