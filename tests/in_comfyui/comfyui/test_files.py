"""Where files of the pack go."""
import pytest


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "", "a/../../b"])
def test_files_stay_inside_the_output_folder(folders, name):
    from mental_averages.nodes import comfyui

    with pytest.raises(ValueError, match="inside ComfyUI's output folder"):
        comfyui.output_path(name, ".json")
