"""Names, patterns and natural order of a sheet's columns."""
import pytest

KNOWN = ["sdxl/b.safetensors", "a-10.safetensors", "a-2.safetensors", "sd15/b.ckpt", "a.safetensors",
         "sdxl/c-1.safetensors"]


@pytest.fixture(scope="module")
def columns(comfyui):
    from mental_averages.nodes.probing import _columns

    return _columns


@pytest.fixture(scope="module")
def found(columns):
    return lambda text: columns.matching(text, KNOWN, "checkpoints", "columns.names")


@pytest.mark.parametrize("text, names", [
    ("a.safetensors", ["a.safetensors"]), ("a", ["a.safetensors"]), ("sdxl/b", ["sdxl/b.safetensors"]),
    ("sdxl\\b.safetensors", ["sdxl/b.safetensors"]), ("b.ckpt", ["sd15/b.ckpt"]),
    ("a-*", ["a-2.safetensors", "a-10.safetensors"]), ("a-?.safetensors", ["a-2.safetensors"]),
    ("sdxl/*", ["sdxl/b.safetensors", "sdxl/c-1.safetensors"]), ("b.*", ["sd15/b.ckpt", "sdxl/b.safetensors"]),
    (" a-10 \n\n a ", ["a-10.safetensors", "a.safetensors"]),
    ("a\na*", ["a.safetensors", "a-2.safetensors", "a-10.safetensors"]), ("A-[12]*", [])])
def test_what_lines_mean(found, text, names):
    if names:
        assert found(text) == names
    else:
        with pytest.raises(ValueError, match="matches"):
            found(text)


def test_a_name_with_brackets_is_itself(columns):
    known = ["x1.safetensors", "x[1].safetensors"]
    assert columns.matching("x[1].safetensors", known, "loras", "files") == known[1:]


@pytest.mark.parametrize("line", ["style[1].safetensors", "style[1]", "concept/style[1]"])
def test_a_name_with_brackets_may_leave_out_what_others_may(columns, line):
    known = ["concept/style1.safetensors", "concept/style[1].safetensors", "concept/style2.safetensors"]
    assert columns.matching(line, known, "loras", "files") == known[1:2]
    assert columns.matching("style[12]*", known, "loras", "files") == [known[0], known[2]]


@pytest.mark.parametrize("text, message", [
    ("", "columns.names is empty"), ("z", "no file of ComfyUI's checkpoints matches 'z'; there is a"),
    ("b", "'b' may be each of sd15/b.ckpt, sdxl/b.safetensors: write its folder"),
    ("a\na.safetensors", "'a.safetensors' is there twice")])
def test_what_lines_cannot_mean(found, text, message):
    with pytest.raises(ValueError, match=message):
        found(text)


def test_natural_order(columns):
    names = ["x-000002", "x", "X-10", "x-000010b", "9", "10", "x-2b", ""]
    assert sorted(names, key=columns.natural) == ["", "9", "10", "x", "x-000002", "x-2b", "X-10", "x-000010b"]


def test_labels_tell_files_apart(columns):
    assert columns.labels_of(["sdxl/b.safetensors", "sd15/b.ckpt", "sdxl/c.safetensors"]) == [
        "sdxl/b.safetensors", "sd15/b.ckpt", "c"]
    assert columns.labels_of(["x/without.safetensors", "within.safetensors"]) == ["x/without.safetensors", "within"]


def test_folders_of_loras(columns, epochs):
    (epochs / "inside").mkdir()
    (epochs / "inside" / "x.safetensors").write_bytes(b"")
    (epochs.parent / "training2.safetensors").write_bytes(b"")
    inside = [f"training/epoch-{number}.safetensors" for number in (1, 10, 2)] + ["training/inside/x.safetensors"]
    assert sorted(columns.in_folder("training")) == sorted(columns.in_folder("/training/")) == sorted(inside)
    assert columns.in_folder("training/inside") == inside[3:] and len(columns.in_folder("")) == 5
    with pytest.raises(ValueError, match=r"the folder 'train' of ComfyUI's LoRAs: .*\(training, training/inside\)"):
        columns.in_folder("train")


def test_columns_of_a_training(columns, epochs):
    choice = {"columns": "loras", "folder": "training", "files": "*", "without": True}
    assert [(each.label, each.lora) for each in columns.columns_of(choice)] == [
        ("without", ""), *((f"epoch-{number}", f"training/epoch-{number}.safetensors") for number in (1, 2, 10))]
    assert [each.label for each in columns.columns_of({**choice, "files": "epoch-10\nepoch-1", "without": False})] == [
        "epoch-10", "epoch-1"]
    for number in range(100):
        (epochs / f"e{number}.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="104 columns, but at most 100"):
        columns.columns_of(choice)
