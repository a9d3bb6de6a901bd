"""ConceptSheet unfolded and executed by ComfyUI's own executor, on the demo checkpoints."""
import asyncio
import gc
import shutil

import pytest
import torch
from queued_sheets import BOTH, EPOCHS, TRANSFORMER, UNET, SheetGiven, SheetResult, sheet_graph


def cells_run(ran):
    """(row, column) of the cells that have run, in their order."""
    return [tuple(map(int, name.removeprefix("cell_").split("_"))) for name in ran if name.startswith("cell_")]


def values(table):
    return {(row.subject, row.name): row.value for row in table.rows}


def refused(comfy, graph):
    """The message of a graph that ConceptSheet refuses, before any cell has run."""
    with pytest.raises(RuntimeError) as error:
        comfy.queue(graph)
    assert not any("cell_" in data["node"] for event, data in comfy.listener.messages
                   if event == "executing" and data["node"])
    return str(error.value)


@pytest.mark.parametrize("cache", ["CLASSIC", "RAM_PRESSURE"])
def test_a_sheet_of_checkpoints_grows_cell_by_cell(comfy, loads, cache):
    queue = comfy(cache).queue
    (pages, averages, table), ran = queue(sheet_graph(BOTH))
    assert cells_run(ran) == [(0, 0), (1, 0), (0, 1), (1, 1)] and set(ran.values()) == {1}
    asked, made = loads
    assert asked == [(UNET, 0), (TRANSFORMER, 0)], "each once, the first gone when the second comes"
    gc.collect()
    assert [network() for network in made] == [None, None], "nothing is kept when the sheet is drawn"
    assert len(pages) == 1 and averages.shape == (4, 64, 64, 3) and len(torch.unique(averages.flatten(1), dim=0)) == 4
    assert table.subjects() == ["red heart, a_unet", "red heart, b_transformer", "cat face, a_unet",
                                "cat face, b_transformer"]

    assert not queue(sheet_graph(BOTH))[1]
    (_, more, grown), ran = queue(sheet_graph(BOTH, words="red heart\ngreen frog\ncat face"))
    # What was the second row is the third: names of nodes are no part of what a cell is.
    assert cells_run(ran) == [(1, 0), (1, 1)]
    assert torch.equal(more[[0, 1, 4, 5]], averages)
    old, new = values(table), values(grown)
    assert all(new[key] == value for key, value in old.items())
    _, ran = queue(sheet_graph({**BOTH, "columns.names": "*transformer*"}, words="cat face"))
    assert cells_run(ran) == []
    _, ran = queue(sheet_graph(BOTH, seed=2, words="cat face"))
    assert cells_run(ran) == [(0, 0), (0, 1)]


@torch.inference_mode()
def test_cells_are_what_mental_average_and_core_draw(comfy, demo, prompts):
    import nodes

    from mental_averages.nodes.mean_shift import MentalAverage

    _, averages, table = comfy().queue(sheet_graph({**BOTH, "columns.names": UNET}, words="red heart"))[0]
    model, _, vae = demo
    empty = {"samples": torch.zeros(1, 4, 8, 8)}
    average = MentalAverage.execute(model, prompts[0], empty, 2, 4, 1, 3.0, "normal", 1, prompts[1],
                                    resume=False).args[0]
    picture = nodes.VAEDecode().decode(vae, average)[0]
    torch.testing.assert_close(averages, picture, rtol=0, atol=0.51 / 255)

    from mental_averages.dma.metrics import same_pixels, spread

    four = {"samples": torch.zeros(4, 4, 8, 8)}
    samples = nodes.KSampler().sample(model, 1, 4, 3.0, "ddim", "normal", *prompts, four)[0]
    expected = spread(same_pixels(nodes.VAEDecode().decode(vae, samples)[0]))
    found, = (row for row in table.rows if row.name == "spread")
    assert (found.value, found.low, found.high) == pytest.approx(tuple(expected), rel=1e-3)


def test_finished_cells_are_found_on_disk_after_a_restart(comfy, sheets):
    expected = comfy().queue(sheet_graph(BOTH))[0]
    states = sorted(sheets.glob("user/mental_averages/runs/*.safetensors"))
    assert len(states) == 8, "an average and samples of each of four cells"

    before = {path: path.read_bytes() for path in states}
    found, ran = comfy().queue(sheet_graph(BOTH))
    assert len(cells_run(ran)) == 4, "another ComfyUI has nothing in its cache"
    for one, other in zip(found[:2], expected[:2]):
        assert torch.equal(one, other)
    assert values(found[2]) == values(expected[2])
    # What is drawn again is saved again, with the seconds that it took.
    assert {path: path.read_bytes() for path in states} == before


def test_an_interrupt_loses_nothing(comfy, monkeypatch):
    import comfy.model_management as management

    from mental_averages.nodes.probing import _concept_cell

    expected = comfy().queue(sheet_graph(BOTH, resume=False))[0]
    look, asked = _concept_cell.looked_at, []

    def interrupting(*given, **named):
        asked.append(given)
        if len(asked) == 3:
            raise management.InterruptProcessingException
        return look(*given, **named)

    monkeypatch.setattr(_concept_cell, "looked_at", interrupting)
    queue = comfy().queue
    received, ran = queue(sheet_graph(BOTH, resume=False))
    assert received is None and cells_run(ran) == [(0, 0), (1, 0), (0, 1)]
    received, ran = queue(sheet_graph(BOTH, resume=False))
    assert cells_run(ran) == [(0, 1), (1, 1)], "the two that were finished come from the cache"
    assert torch.equal(received[1], expected[1]) and values(received[2]) == values(expected[2])


def test_one_checkpoint_that_fails_is_tried_again_and_loses_nothing_else(comfy, sheets, loads):
    broken = sheets / "checkpoints" / "aa_broken.safetensors"
    broken.write_bytes((sheets / "checkpoints" / TRANSFORMER).read_bytes()[:100_000])
    names = f"{UNET}\naa_broken\n{TRANSFORMER}"
    queue = comfy().queue
    (pages, averages, table), ran = queue(sheet_graph({**BOTH, "columns.names": names}))
    assert len(cells_run(ran)) == 6 and averages.shape[0] == 6
    assert (averages[1] == 0.5).all() and averages[0].std() > 0.05 and averages[2].std() > 0.05
    failed = [row for row in table.rows if row.name == "average"]
    assert [row.subject for row in failed] == ["red heart, aa_broken", "cat face, aa_broken"]
    assert all("'aa_broken.safetensors' cannot be loaded" in row.note for row in failed)
    red = torch.tensor([0xB3, 0x26, 0x1E]) / 255
    assert ((pages - red).abs().amax(-1) < 1e-3).sum() > 2 * 4 * 128 - 20, "a frame around each failed cell"
    assert [name for name, _ in loads[0]] == [UNET, broken.name, TRANSFORMER], "it is read once for all words"

    _, ran = queue(sheet_graph({**BOTH, "columns.names": names}))
    assert cells_run(ran) == [(0, 1), (1, 1)], "what failed is tried again, and nothing else"
    assert [name for name, _ in loads[0][3:]] == [broken.name]
    broken.unlink()
    shutil.copy(sheets / "checkpoints" / TRANSFORMER, broken)
    (_, averages, table), ran = queue(sheet_graph({**BOTH, "columns.names": names}))
    assert cells_run(ran) == [(0, 1), (1, 1)] and torch.equal(averages[1], averages[2])
    # Copies of one checkpoint: nothing moves.
    assert values(table)["red heart, b_transformer", "drift"] == values(table)["cat face, b_transformer", "drift"] == 0
    assert not queue(sheet_graph({**BOTH, "columns.names": names}))[1]


def test_a_word_that_fails_alone(comfy, monkeypatch):
    from mental_averages.nodes import comfyui

    encoded = comfyui.encoded

    def failing(clip, text):
        if text == "cat face":
            raise torch.OutOfMemoryError("no memory")
        return encoded(clip, text)

    monkeypatch.setattr(comfyui, "encoded", failing)
    (_, _, table), _ = comfy().queue(sheet_graph({**BOTH, "columns.names": UNET}))
    failed, = (row for row in table.rows if row.name == "average")
    assert failed.subject == "cat face, a_unet" and failed.note == "OutOfMemoryError: no memory"
    with pytest.raises(RuntimeError, match="No cell of the sheet could be drawn. OutOfMemoryError: no memory"):
        comfy().queue(sheet_graph({**BOTH, "columns.names": UNET}, words="cat face"))


def test_epochs_of_a_training_in_their_order(comfy, epochs, random_loras):
    from safetensors.torch import load_file, save_file

    stronger = {name: value * (3 if "up" in name else 1) for name, value in load_file(random_loras).items()}
    save_file(stronger, epochs / "epoch-10.safetensors")
    queue = comfy().queue
    (_, averages, table), ran = queue(sheet_graph(EPOCHS, words="red heart"))
    assert [subject.split(", ")[1] for subject in table.subjects()] == ["without", "epoch-1", "epoch-2", "epoch-10"]
    assert torch.equal(averages[1], averages[2]) and not torch.equal(averages[0], averages[1])
    found = values(table)
    assert found["red heart, epoch-2", "drift"] == 0 and found["red heart, epoch-2", "average moved"] == 0
    assert found["red heart, epoch-1", "average moved"] > 0 and found["red heart, epoch-10", "average moved"] > 0
    save_file(stronger, epochs / "epoch-11.safetensors")
    _, ran = queue(sheet_graph(EPOCHS, words="red heart"))
    assert cells_run(ran) == [(0, 4)], "a new file is seen, and is all that is drawn"
    shutil.copy(random_loras, epochs / "epoch-10.safetensors")
    (_, changed, _), ran = queue(sheet_graph(EPOCHS, words="red heart"))
    assert cells_run(ran) == [(0, 3)] and torch.equal(changed[3], averages[1]), "a file with new content is drawn anew"


def test_each_model_of_a_list_is_drawn_once(comfy, epochs, demo, monkeypatch):
    """ComfyUI runs a node for each of what it is given as a list, and all that hangs on the list as often again."""
    import nodes
    from patched_models import lora

    from mental_averages.nodes.probing import _concept_cell

    class SheetModels:
        RETURN_TYPES, OUTPUT_IS_LIST, FUNCTION, CATEGORY = ("MODEL",), (True,), "give", "test"

        @classmethod
        def INPUT_TYPES(cls):
            return {"required": {}}

        def give(self):
            return ([demo[0], lora(demo[0], strength=3.0)],)

    drawn, received, look, take = [], [], _concept_cell.looked_at, SheetResult.take
    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "SheetModels", SheetModels)
    monkeypatch.setattr(_concept_cell, "looked_at", lambda *arguments: drawn.append(1) or look(*arguments))
    monkeypatch.setattr(SheetResult, "take",
                        lambda self, **given: received.append(given["averages"]) or take(self, **given))
    few = {**EPOCHS, "columns.files": "epoch-2*"}
    queue = comfy().queue
    for model in ({}, {"columns.model": ["models", 0]}):
        graph = {**sheet_graph({**few, **model}, words="red heart", samples=0),
                 "models": {"class_type": "SheetModels", "inputs": {}}}
        queue(graph)
    (alone, first, second), columns = received, 2
    assert len(drawn) == 3 * columns and torch.equal(alone, first)
    assert (first - second).abs().amax((1, 2, 3)).min() > 0.01
    assert not queue(graph)[1] and len(drawn) == 3 * columns, "found again"


def test_the_model_is_as_it_was_after_its_loras(comfy, epochs, demo, prompts):
    import nodes

    def picture():
        with torch.inference_mode():
            return nodes.KSampler().sample(demo[0], 3, 3, 3.0, "euler", "normal", *prompts,
                                           {"samples": torch.zeros(1, 4, 8, 8)})[0]["samples"]

    before = picture()
    comfy().queue(sheet_graph(EPOCHS, words="red heart", samples=0))
    assert torch.equal(picture(), before) and not demo[0].patches


def test_a_lora_of_another_model_is_a_cell_that_says_so(comfy, epochs):
    from safetensors.torch import save_file

    save_file({"diffusion_model.nothing.lora_up.weight": torch.ones(2, 2),
               "diffusion_model.nothing.lora_down.weight": torch.ones(2, 2)}, epochs / "epoch-2.safetensors")
    (epochs / "epoch-1.safetensors").write_bytes(b"no file of weights")
    (_, _, table), _ = comfy().queue(sheet_graph(EPOCHS, words="red heart", samples=0))
    notes = [row.note for row in table.rows if row.name == "average"]
    assert "'training/epoch-1.safetensors' cannot be read" in notes[0]
    assert "'training/epoch-2.safetensors' has no weights for any layer of this model" in notes[1]


def test_shares_of_prompts(comfy, small_encoder):
    looked = {"attributes": "prompts", "attributes.prompts": "red\nblue", "image_encoder": ["given", 3]}
    (_, _, table), _ = comfy().queue(sheet_graph(BOTH, words="red heart", **looked))
    found = {(row.subject, row.name): row for row in table.rows}
    for column in ("a_unet", "b_transformer"):
        red, blue = (found[f"red heart, {column}", f"share of {name}"] for name in ("red", "blue"))
        assert red.value + blue.value == 1 and red.count == 4 and red.low <= red.value <= red.high
    assert ("red heart, b_transformer", "change of red") in found
    assert table.settings["encoder"] == small_encoder.encoder.name and table.settings["attributes"] == "prompts"


def test_averages_alone(comfy):
    (pages, averages, table), _ = comfy().queue(sheet_graph(BOTH, samples=0, count=4))
    assert {row.name for row in table.rows} == {"average moved", "error of the average", "flags"}
    assert table.settings["encoder"] == "32 x 32 pixels"
    assert averages.std() > 0.1 and len(pages) == 1


def test_the_template_is_around_every_word(comfy):
    queue = comfy().queue
    (_, whole, _), _ = queue(sheet_graph({**BOTH, "columns.names": UNET}, words="red heart", samples=0))
    (_, made, table), ran = queue(sheet_graph({**BOTH, "columns.names": UNET}, words="red\ncat", template="{} heart",
                                              samples=0))
    assert torch.equal(made[0], whole[0]) and cells_run(ran) == [(1, 0)], "the same prompt is the same cell"
    assert table.subjects() == ["red, a_unet", "cat, a_unet"]


@pytest.mark.parametrize("columns, change, message", [
    ({**BOTH, "columns.names": "a_unet\nnone_such"}, {}, "no file of ComfyUI's checkpoints matches 'none_such'"),
    ({**BOTH, "columns.names": "a_unit"}, {}, "matches 'a_unit'; there is a_unet.safetensors"),
    ({**BOTH, "columns.names": "sdxl/*"}, {}, "matches 'sdxl/\\*'; there is"),
    ({**BOTH, "columns.names": " \n"}, {}, "columns.names is empty"),
    ({**BOTH, "columns.names": "a_unet\na_unet.safetensors"}, {}, "'a_unet.safetensors' is there twice"),
    ({**EPOCHS, "columns.folder": "empty"}, {},
     "There is no LoRA in the folder 'empty' of ComfyUI's LoRAs.*\\(training"),
    ({**EPOCHS, "columns.files": "*-99*"}, {}, "no file of ComfyUI's loras matches '\\*-99\\*'"),
    (BOTH, dict(samples=2), "samples is 2: how far"), (BOTH, dict(averaged_steps=5), "lower averaged_steps"),
    (BOTH, {"attributes": "prompts", "attributes.prompts": "a\nb"}, "prompts take a CLIP or SigLIP from"),
    (BOTH, {"attributes": "question", "attributes.question": "a?", "image_encoder": ["given", 3]},
     "does not answer questions"),
    (BOTH, {"attributes": "prompts", "attributes.prompts": "a", "image_encoder": ["given", 3]}, "at least two lines"),
    (BOTH, {"attributes": "prompts", "attributes.prompts": "a\nb", "image_encoder": ["given", 3], "samples": 0},
     "samples is 0, but attributes"),
    (BOTH, {"attributes": "prompts", "attributes.prompts": "a\n" + "b " * 20, "image_encoder": ["given", 3]},
     "tokens, but clip reads at most 12: shorten it"),
    (BOTH, dict(count=["given", 4]), "count is 0: choose a number from 1"),
])
def test_bad_input_is_refused_before_anything_is_drawn(comfy, epochs, columns, change, message):
    import re

    assert re.search(message, refused(comfy(), sheet_graph(columns, **change)))


@pytest.mark.parametrize("change, message", [
    (dict(words=" \n"), "words is empty"), (dict(words="a\nb\na"), "words has 'a' more than once"),
    (dict(words="\n".join(map(str, range(101)))), "at most 100"), (dict(template="a photo"), "has no {} where a word")])
def test_words_are_checked_when_the_graph_is_queued(sheets, change, message):
    import execution

    def errors(**change):
        valid, _, _, found = asyncio.run(execution.validate_prompt("id", sheet_graph(BOTH, **change), None))
        return "" if valid else str(found)

    assert errors() == "" and message in errors(**change)


def test_cells_that_would_have_one_name(comfy, sheets):
    for name in ("b, c", "c"):
        shutil.copy(sheets / "checkpoints" / UNET, sheets / "checkpoints" / f"{name}.safetensors")
    columns = {**BOTH, "columns.names": "b, c\nc"}
    assert "2 cells would be called 'a, b, c' in the table" in refused(comfy(), sheet_graph(columns, words="a\na, b"))


def test_what_has_no_text_encoder_or_too_many_cells(comfy, demo, epochs, monkeypatch):
    monkeypatch.setattr(SheetGiven, "values", (demo[0], None, demo[2], None, 0))
    assert "columns.clip has no text encoder" in refused(comfy(), sheet_graph(EPOCHS))
    for number in range(12):
        shutil.copy(epochs / "epoch-1.safetensors", epochs / f"more-{number}.safetensors")
    words = "\n".join(f"word {number}" for number in range(100))
    assert "100 x 16 cells, but at most 1000" in refused(comfy(), sheet_graph(EPOCHS, words=words))
