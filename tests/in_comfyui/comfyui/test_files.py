"""Where files of the pack go."""
import os
from pathlib import Path

import pytest
import torch


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "", "a/../../b",
                                  "a\0b", "a" * 300, "a" * 250, "\u4e2d" * 90])
def test_files_stay_inside_the_output_folder(folders, name):
    from mental_averages.nodes import comfyui

    with pytest.raises(ValueError, match="inside ComfyUI's output folder"):
        comfyui.output_path(name, ".json")


def test_every_name_that_people_type_is_refused_with_a_sentence(folders, embeddings):
    """Null bytes and names that are too long for the system."""
    from mental_averages.nodes import comfyui
    from mental_averages.nodes.figures import LoadReport

    for name in ("a\0b", "a" * 300, "b/" + "a" * 300, "\u4e2d" * 100):
        for look in (LoadReport.execute, comfyui.readable_path):
            with pytest.raises(ValueError, match="no file") as refusal:
                look(name)
            assert len(str(refusal.value)) < 250
        assert LoadReport.fingerprint_inputs(name) == ""
        assert not comfyui.is_writable_prefix(name)
        with pytest.raises(ValueError, match="cannot be the name of an embedding|is not a file name"):
            comfyui.embedding_path(name)
    assert comfyui.is_writable_prefix("loras/concept") and comfyui.output_path("a" * 190, ".json")
    assert comfyui.embedding_path("a" * 190)


def save_report(prefix="report"):
    from mental_averages.dma.alignment import AlignmentReport
    from mental_averages.nodes.figures import SaveReport

    class Report:
        FORMAT = AlignmentReport.FORMAT

        def to_json(self):
            return "{}"

    return SaveReport.execute(Report(), prefix)


def capture(prefix):
    from mental_averages.dma.hspace import Features, save_features
    from mental_averages.nodes import comfyui

    with comfyui.explaining_what_cannot_be_written(prefix):
        save_features(Features(torch.zeros(2, 3), "middle_block", "mean", 1.0),
                      comfyui.output_path(prefix, ".safetensors"))


@pytest.mark.parametrize("write", [save_report, capture])
@pytest.mark.parametrize("kind", ["full", "read-only", "file in the way"])
def test_what_cannot_be_written_is_said_in_a_sentence(folders, monkeypatch, write, kind):
    prefix = "taken/report" if kind == "file in the way" else "report"

    def refuse(*arguments, **options):
        raise OSError(28, "No space left on device")

    if kind == "full":
        monkeypatch.setattr(os, "replace", refuse)
    elif kind == "read-only":
        monkeypatch.setattr(os, "replace", refuse)
        monkeypatch.setattr(Path, "unlink", refuse)
        monkeypatch.setattr(Path, "mkdir", refuse)
    (folders / "output" / "taken").write_text("a file")
    with pytest.raises(ValueError, match="cannot be written into ComfyUI's output folder.*make room"):
        write(prefix)
    monkeypatch.undo()
    assert [path.name for path in (folders / "output").iterdir()] == ["taken"]
