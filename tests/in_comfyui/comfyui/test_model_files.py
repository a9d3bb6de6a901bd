"""One checkpoint in memory at a time, LoRAs by name, and what tells two contents of a file apart."""
import os
import weakref

import pytest
import torch
from model_files import write_models
from safetensors.torch import save_file

import pack


@pytest.fixture
def listed(folders, monkeypatch):
    import folder_paths

    for kind in ("checkpoints", "loras"):
        (folders / kind).mkdir()
        monkeypatch.setitem(folder_paths.folder_names_and_paths, kind, ([str(folders / kind)], {".safetensors"}))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    for name in ("one", "other"):
        (folders / "checkpoints" / f"{name}.safetensors").symlink_to(pack.demo_transformer().resolve())
    return folders


def test_one_checkpoint_at_a_time(bridge, listed):
    held = bridge.OneCheckpoint()
    with torch.inference_mode():
        model, clip, vae = held.get("one.safetensors")
        assert held.get("one.safetensors")[0] is model and clip is not None and vae is not None
        network = weakref.ref(model.model)
        del model, clip, vae
        assert network() is not None
        held.get("other.safetensors")
    assert network() is None
    held.let_go()
    assert held.loaded is None
    held.let_go()


def test_a_file_with_new_content_is_loaded_anew(bridge, listed):
    held, path = bridge.OneCheckpoint(), listed / "checkpoints" / "one.safetensors"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    with torch.inference_mode():
        first = held.get("one.safetensors")[0]
        os.utime(path, ns=(1, 1))
        assert held.get("one.safetensors")[0] is not first


def test_what_cannot_be_loaded(bridge, listed, monkeypatch):
    import nodes

    held = bridge.OneCheckpoint()
    with pytest.raises(ValueError, match="There is no file 'none.safetensors' in ComfyUI's folder of checkpoints"):
        held.get("none.safetensors")
    (listed / "checkpoints" / "broken.safetensors").write_bytes(b"1234567890")
    asked, load = [], nodes.CheckpointLoaderSimple.load_checkpoint

    def counted(self, ckpt_name):
        asked.append(ckpt_name)
        return load(self, ckpt_name)

    monkeypatch.setattr(nodes.CheckpointLoaderSimple, "load_checkpoint", counted)
    for again in range(3):
        with pytest.raises(ValueError, match="'broken.safetensors' cannot be loaded"):
            held.get("broken.safetensors")
        assert held.loaded is None and len(asked) == 1 + (again == 2), "read once, until it is let go or has changed"
        if again == 1:
            (listed / "checkpoints" / "broken.safetensors").write_bytes(b"123456789012")
    held.let_go()
    with pytest.raises(ValueError, match="'broken.safetensors' cannot be loaded"):
        held.get("broken.safetensors")
    assert len(asked) == 3


def test_stamps_and_names(bridge, listed):
    assert bridge.listed_models("checkpoints") == ["one.safetensors", "other.safetensors"]
    path = listed / "loras" / "x.safetensors"
    path.write_bytes(b"1")
    first = bridge.stamp("loras", "x.safetensors")
    assert first == bridge.stamp("loras", "x.safetensors")
    path.write_bytes(b"22")
    assert bridge.stamp("loras", "x.safetensors") != first
    with pytest.raises(ValueError, match="no file 'y.safetensors'"):
        bridge.stamp("loras", "y.safetensors")


def test_a_lora_is_that_of_core_s_loader(bridge, listed, demo):
    import nodes

    write_models(pack.demo_checkpoint().resolve(), listed)
    model, clip, _ = demo
    ours, _ = bridge.with_lora_file(model, clip, "random.safetensors", 0.7)
    theirs, _ = nodes.LoraLoader().load_lora(model, clip, "random.safetensors", 0.7, 0.7)
    assert ours.patches.keys() == theirs.patches.keys() and ours.patches and not model.patches
    assert all(one[0][0] == other[0][0] == 0.7 for one, other in zip(ours.patches.values(), theirs.patches.values()))


def lora_of(shapes, path):
    weights = {}
    for name, (rows, columns) in shapes.items():
        weights[f"diffusion_model.{name}.lora_up.weight"] = torch.ones(rows, 2)
        weights[f"diffusion_model.{name}.lora_down.weight"] = torch.ones(2, columns)
    save_file(weights, path)


@pytest.fixture
def layers(demo):
    """Linear layers of the demo U-Net: name and shape."""
    found = {name.removeprefix("diffusion_model.").removesuffix(".weight"): tuple(weight.shape)
             for name, weight in demo[0].model.state_dict().items()
             if name.startswith("diffusion_model.") and name.endswith(".weight") and weight.ndim == 2}
    assert len(found) > 10
    return found


def test_a_lora_of_another_size_is_refused(bridge, listed, demo, layers):
    path = listed / "loras" / "x.safetensors"
    lora_of({name: (rows, 2 * columns) for name, (rows, columns) in layers.items()}, path)
    with pytest.raises(ValueError, match=f"'x.safetensors' is of another size than this model in {len(layers)} of "
                                         f"{len(layers)} layers: it belongs to another kind"):
        bridge.with_lora_file(demo[0], demo[1], "x.safetensors", 1.0)
    # A few of another size may be those of a model with more inputs.
    first = next(iter(layers))
    lora_of({**layers, first: (layers[first][0], 2 * layers[first][1])}, path)
    assert bridge.with_lora_file(demo[0], demo[1], "x.safetensors", 1.0)[0].patches


def test_only_a_lack_of_memory_unloads(bridge, monkeypatch):
    import comfy.model_management

    asked = []
    monkeypatch.setattr(comfy.model_management, "unload_all_models", lambda: asked.append(1))
    bridge.free_after(ValueError("something else"))
    assert not asked
    bridge.free_after(torch.OutOfMemoryError("no memory"))
    assert asked
