"""Where files of the pack go."""
import pytest


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "", "a/../../b",
                                  "a\0b", "a" * 300, "a" * 240, "\u4e2d" * 90])
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
