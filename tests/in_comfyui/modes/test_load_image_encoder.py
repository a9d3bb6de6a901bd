"""LoadImageEncoder, inside inference mode as ComfyUI runs it."""
import shutil
import sys

import pytest
import torch
from clusterings import load

import pack

sys.path.insert(0, str(pack.ROOT / "tests" / "dma"))


def test_memory_management_moves_the_encoder(encoders, images):
    import comfy.model_management

    from mental_averages.dma.encoders import embed_images

    loaded = load("clip")
    with torch.inference_mode():
        first = embed_images(loaded.on_device(), images[0])
        assert any(entry.model is loaded.patcher for entry in comfy.model_management.current_loaded_models)
        comfy.model_management.unload_all_models()
        torch.testing.assert_close(embed_images(loaded.on_device(), images[0]), first)


def test_encoders_are_listed_and_stay_in_their_folder(encoders, tmp_path):
    from mental_averages.nodes.comfyui import encoder_names
    from mental_averages.nodes.modes import LoadImageEncoder

    assert encoder_names() == ["clip", "dinov2", "maker/blip"]
    assert LoadImageEncoder.validate_inputs("clip") is True
    assert LoadImageEncoder.fingerprint_inputs("clip") != LoadImageEncoder.fingerprint_inputs("dinov2")
    shutil.copytree(encoders / "clip", encoders.parent / "outside", dirs_exist_ok=True)
    for name in ("../outside", str(encoders.parent / "outside"), "", ".", "absent"):
        assert "There is no image encoder" in LoadImageEncoder.validate_inputs(name)
        with pytest.raises(ValueError, match="There is no encoder"):
            LoadImageEncoder.execute(name)


def test_a_linked_name_is_not_known_before_the_graph_runs(encoders):
    from mental_averages.nodes.modes import LoadImageEncoder

    assert LoadImageEncoder.validate_inputs(None) is True
    before = LoadImageEncoder.fingerprint_inputs(None)
    (encoders / "clip" / "note").write_text("any change of any encoder")
    try:
        assert LoadImageEncoder.fingerprint_inputs(None) != before
    finally:
        (encoders / "clip" / "note").unlink()
    assert LoadImageEncoder.fingerprint_inputs(None) == before


def test_a_damaged_folder_is_refused_before_the_graph_runs(encoders):
    from mental_averages.nodes.modes import LoadImageEncoder

    damaged = shutil.copytree(encoders / "clip", encoders / "damaged")
    before = LoadImageEncoder.fingerprint_inputs("damaged")
    content = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(content[:-8])
    try:
        assert "damaged or was cut off" in LoadImageEncoder.validate_inputs("damaged")
        assert LoadImageEncoder.fingerprint_inputs("damaged") != before
        (damaged / "model.safetensors").unlink()
        assert "has no model.safetensors" in LoadImageEncoder.validate_inputs("damaged")
    finally:
        shutil.rmtree(damaged)
