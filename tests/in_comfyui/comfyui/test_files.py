"""Where files of the pack go."""
import os
from pathlib import Path

import pytest
import torch


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "", "a/../../b"])
def test_files_stay_inside_the_output_folder(folders, name):
    from mental_averages.nodes import comfyui

    with pytest.raises(ValueError, match="inside ComfyUI's output folder"):
        comfyui.output_path(name, ".json")


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
@pytest.mark.parametrize("kind", ["full", "read-only", "too long", "file in the way"])
def test_what_cannot_be_written_is_said_in_a_sentence(folders, monkeypatch, write, kind):
    prefix = {"too long": "a" * 300, "file in the way": "taken/report"}.get(kind, "report")

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
