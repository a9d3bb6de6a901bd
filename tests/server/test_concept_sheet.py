"""A concept sheet on a real server: what runs when it grows, is interrupted, or misses a file."""
import csv
import json
import time

import graphs
import numpy as np
import pytest
from model_files import write_models

import comfy_server
import pack
import workspace

WORDS = "red heart\ncat face"
LORAS = {"columns": "loras", "columns.model": ["checkpoint", 0], "columns.clip": ["checkpoint", 1],
         "columns.vae": ["checkpoint", 2], "columns.folder": "", "columns.files": "random", "columns.strength": 1.0,
         "columns.without": True}


@pytest.fixture(scope="module", autouse=True)
def _files(base):
    workspace.add_checkpoint(base, pack.demo_transformer())
    write_models(pack.demo_checkpoint().resolve(), base / "models")


@pytest.fixture(scope="module")
def both(checkpoint):
    return {"columns": "checkpoints", "columns.names": f"{checkpoint}\n{pack.demo_transformer().name}"}


def sheet(columns, checkpoint=None, **change):
    settings = dict(words=WORDS, template="{}", negative_prompt="", width=64, height=64, count=4, samples=4, steps=6,
                    cfg=3.0, scheduler="normal", seed=1, averaged_steps=2, attributes="none", cell=128, resume=True)
    graph = {"sheet": graphs.node("ConceptSheet", **{**settings, **columns, **change}),
             "picture": graphs.node("SaveImage", images=["sheet", 0], filename_prefix="sheet"),
             "averages": graphs.node("SaveImage", images=["sheet", 1], filename_prefix="averages"),
             "table": graphs.node("SaveTable", **{"tables.tables0": ["sheet", 2], "names": "",
                                                  "filename_prefix": "sheet"})}
    if checkpoint:
        graph["checkpoint"] = graphs.node("CheckpointLoaderSimple", ckpt_name=checkpoint)
    return graph


def cells_run(run):
    """The cells that have run, in their order."""
    ids = [message["data"]["node"] for message in run.messages if message["type"] == "executing"]
    return list(dict.fromkeys(node.split("cell_")[1] for node in ids if node and "cell_" in node))


def pictures(run):
    return [graphs.pixels(path) for path in sorted(run.pictures, key=lambda path: path.name)]


def same(one, other):
    return all(np.array_equal(*pair) for pair in zip(pictures(one), pictures(other), strict=True))


def test_a_sheet_grows_by_its_new_cells(server, both):
    first = graphs.run(server, sheet(both))
    assert cells_run(first) == ["0_0", "1_0", "0_1", "1_1"]
    text, = first.entry["outputs"]["table"]["text"]
    saved = text.removeprefix("Saved ").split(" and ")
    rows = list(csv.DictReader((server.output_directory / saved[1]).read_text(encoding="utf-8-sig").splitlines()))
    assert len({row["subject"] for row in rows}) == 4
    assert json.loads((server.output_directory / saved[0]).read_text(encoding="utf-8"))["settings"]["seed"] == 1
    grown = graphs.run(server, sheet(both, words=f"{WORDS}\ngreen frog"))
    assert cells_run(grown) == ["2_0", "2_1"]
    assert [np.array_equal(*pair) for pair in zip(pictures(first)[:4], pictures(grown)[:4])] == [True] * 4
    assert cells_run(graphs.run(server, sheet(both, words="green frog"))) == []


def test_an_interrupted_sheet_goes_on(server, base, both, checkpoint):
    before = graphs.run(server, graphs.plain_picture(checkpoint))
    whole = graphs.run(server, sheet(both, seed=7, resume=False))
    states = len(graphs.saved_states(base))
    graph = sheet(both, seed=7)
    prompt_id = server.queue(graph)
    end = time.monotonic() + graphs.RUN_SECONDS
    # The average and the samples of one cell, and the beginning of another.
    while len(graphs.saved_states(base)) < states + 3:
        assert time.monotonic() < end and not server.get(f"/history/{prompt_id}"), server.log(15)
        time.sleep(0.05)
    server.interrupt()
    with pytest.raises(comfy_server.PromptInterrupted) as interruption:
        graphs.finish(server, prompt_id)
    assert interruption.value.node_id == "sheet"
    resumed = graphs.run(server, graph)
    assert "0_0" not in cells_run(resumed) and "1_1" in cells_run(resumed), "what was finished is in the cache"
    assert same(resumed, whole)
    after = graphs.run(server, graphs.plain_picture(checkpoint))
    assert np.array_equal(before.pixels(), after.pixels())
    # Now the cache, which is the classic one, has dropped the sheet, and all of it comes from the disk.
    again = graphs.run(server, graph)
    assert len(cells_run(again)) == 4 and same(again, whole)


def test_a_killed_server_leaves_what_was_finished(environment, make_base, both):
    base = make_base()
    workspace.add_checkpoint(base, pack.demo_transformer())
    graph = sheet(both, words="red heart", samples=3)
    with comfy_server.start(environment, base) as server:
        prompt_id, end = server.queue(graph), time.monotonic() + graphs.RUN_SECONDS
        while len(graphs.saved_states(base)) < 3:
            assert time.monotonic() < end and not server.get(f"/history/{prompt_id}"), server.log(15)
            time.sleep(0.05)
        server.kill()
    finished = graphs.saved_states(base)
    times = {path: path.read_bytes() for path in finished[:]}
    with comfy_server.start(environment, base) as server:
        run = graphs.run(server, graph)
    assert len(run.pictures) == 3 and len(graphs.saved_states(base)) == 4
    # At most the state that was in work has changed.
    assert sum(path.read_bytes() != content for path, content in times.items()) <= 1


@pytest.mark.parametrize("change, sentence", [
    ({"columns.names": "no_such_checkpoint"}, "no file of ComfyUI's checkpoints matches 'no_such_checkpoint'"),
    ({**LORAS, "columns.folder": "no_such_folder"}, "There is no LoRA in the folder 'no_such_folder'"),
    ({"attributes": "question", "attributes.question": "what?"}, "a question take a BLIP-VQA from LoadImageEncoder")])
def test_what_is_missing_is_said_before_any_cell(server, both, checkpoint, change, sentence):
    with pytest.raises(comfy_server.PromptError) as refusal:
        graphs.run(server, sheet({**both, **change}, checkpoint))
    assert refusal.value.node_id == "sheet" and sentence in refusal.value.message


def test_a_sheet_without_words_is_not_queued(server, both):
    with pytest.raises(comfy_server.PromptError, match="words is empty"):
        graphs.run(server, sheet(both, words=" "))


def test_a_damaged_checkpoint_is_a_column_that_says_so(server, base, both):
    damaged = base / "models" / "checkpoints" / "damaged.safetensors"
    damaged.write_bytes(pack.demo_transformer().read_bytes()[:50_000])
    columns = {**both, "columns.names": f"{both['columns.names']}\ndamaged"}
    run = graphs.run(server, sheet(columns, words="red heart", samples=0))
    averages = pictures(run)[:3]
    assert [picture.std() > 5 for picture in averages] == [True, True, False]
    again = graphs.run(server, sheet(columns, words="red heart", samples=0))
    assert cells_run(again) == ["0_2"]
    damaged.unlink()


def test_a_lora_beside_its_model(server, checkpoint):
    before = graphs.run(server, graphs.plain_picture(checkpoint))
    run = graphs.run(server, sheet(LORAS, checkpoint, words="red heart"))
    assert cells_run(run) == ["0_0", "0_1"]
    without, with_lora = pictures(run)[:2]
    assert not np.array_equal(without, with_lora)
    after = graphs.run(server, graphs.plain_picture(checkpoint))
    assert np.array_equal(before.pixels(), after.pixels())
