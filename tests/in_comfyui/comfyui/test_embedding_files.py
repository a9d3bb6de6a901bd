"""Which files a prompt names, and that they count for what ComfyUI keeps of a sheet."""
from pathlib import Path

import pytest


@pytest.fixture
def files(folders, monkeypatch):
    import folder_paths

    folder = folders / "embeddings"
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "embeddings", ([str(folder)], set()))
    (folder / "castles").mkdir(parents=True)
    found = [folder / name for name in ("castles/one.safetensors", "two.pt", "brackets(1).pt")]
    for path in found:
        path.write_bytes(b"1")
    return found


@pytest.mark.parametrize("texts, names", [
    (("a castle", ""), []), (("embedding:three, two",), []), (("embedding:two.pt",), ["two.pt"]),
    (("(embedding:castles/one:1.2), old", "embedding:two,"), ["one.safetensors", "two.pt"]),
    (("((embedding:two)) by night",), ["two.pt"]), (("(embedding:two:-1), (embedding:castles/one:1e-1)",),
                                                    ["one.safetensors", "two.pt"]),
    (("(embedding:two,:1.2)",), ["two.pt"]), (("embedding: two[x]",), ["two.pt"]),
    (("embedding:two<lora:x:1>",), ["two.pt"]),
    ((r"embedding:brackets\(1\)",), ["brackets(1).pt"]), ((None, "embedding:two"), ["two.pt"]),
    (("embedding:" + "x" * 300, "embedding:two\0", "embedding:../../two"), [])])
def test_files_that_a_prompt_names(bridge, files, texts, names):
    assert [Path(path).name for path, *_ in bridge.embedding_stamps(*texts)] == names


@pytest.mark.parametrize("place", ["words", "template", "negative_prompt", "prompt of a cell", "negative of a cell"])
def test_a_sheet_is_drawn_anew_for_another_embedding(comfyui, files, monkeypatch, place):
    from mental_averages.nodes.probing import ConceptSheet, ConceptSheetCell

    monkeypatch.setitem(ConceptSheet.fingerprint_inputs.__func__.__globals__, "columns_of", lambda columns: [])
    node, given = {
        "words": (ConceptSheet, {"words": "a cat\n castles/one ", "template": "(embedding:{}:1.1)"}),
        "template": (ConceptSheet, {"words": "a cat", "template": "{}, embedding:castles/one"}),
        "negative_prompt": (ConceptSheet, {"words": "a cat", "template": "{}",
                                           "negative_prompt": "embedding:castles/one"}),
        "prompt of a cell": (ConceptSheetCell, {"prompt": ["embedding:castles/one"]}),
        "negative of a cell": (ConceptSheetCell, {"negative_prompt": ["embedding:castles/one"]})}[place]
    before = node.fingerprint_inputs(**given)
    assert node.fingerprint_inputs(**given) == before and before != node.fingerprint_inputs()
    files[0].write_bytes(b"22")
    assert node.fingerprint_inputs(**given) != before
