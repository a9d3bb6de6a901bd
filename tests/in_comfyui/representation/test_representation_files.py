"""SaveRepresentation and LoadRepresentation."""
import pytest
import torch

from mental_averages.dma.representation import Representation


def representation():
    return Representation(torch.randn(2, 1, 5), "middle_block", (2.5,), 4, 7, "mean", (4, 8, 8), torch.randn(1, 16))


def test_round_trip(folders):
    from mental_averages.nodes.representation import LoadRepresentation, SaveRepresentation

    saved = SaveRepresentation.execute(found := representation(), "kept/faces")
    assert saved.args[0] == "kept/faces_00001_.safetensors" and "Saved" in saved.ui.as_dict()["text"][0]
    assert SaveRepresentation.execute(found, "kept/faces").args[0] == "kept/faces_00002_.safetensors"
    again = LoadRepresentation.execute(saved.args[0]).args[0]
    assert torch.equal(again.means, found.means) and again.is_of(found.fingerprint) and again.layer == "middle_block"


def test_a_file_that_changes_is_read_again(folders):
    from mental_averages.nodes.representation import LoadRepresentation, SaveRepresentation

    path = SaveRepresentation.execute(representation(), "faces").args[0]
    before = LoadRepresentation.fingerprint_inputs(path)
    assert LoadRepresentation.fingerprint_inputs(path) == before != ""
    (folders / "output" / path).write_bytes(b"changed")
    assert LoadRepresentation.fingerprint_inputs(path) != before
    assert LoadRepresentation.fingerprint_inputs("nothing") == ""
    with pytest.raises(ValueError, match="Choose a file that Save Representation wrote"):
        LoadRepresentation.execute(path)


@pytest.mark.parametrize("path", ["nothing.safetensors", "../outside.safetensors"])
def test_files_that_are_not_there(folders, path):
    from mental_averages.nodes.representation import LoadRepresentation

    with pytest.raises(ValueError, match="no file"):
        LoadRepresentation.execute(path)


def test_names_outside_the_output_folder_are_refused(folders):
    from mental_averages.nodes.representation import SaveRepresentation

    with pytest.raises(ValueError, match="output folder"):
        SaveRepresentation.execute(representation(), "../outside")
