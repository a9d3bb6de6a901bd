"""ConceptSheet on the demo checkpoints, in graphs that ComfyUI's own executor runs."""
import gc
import shutil
import weakref

import pytest
from encoder_folders import write_clip
from loaded_encoders import encoders_in, loaded_encoder
from model_files import write_models
from queued_graphs import Comfy
from queued_sheets import TRANSFORMER, UNET, SheetGiven, SheetResult

import pack


@pytest.fixture
def model_folders(folders, monkeypatch):
    """ComfyUI's folders of checkpoints, with both demo checkpoints, and of LoRAs, with three epochs."""
    import folder_paths

    for kind in ("checkpoints", "loras"):
        (folders / kind).mkdir(exist_ok=True)
        monkeypatch.setitem(folder_paths.folder_names_and_paths, kind, ([str(folders / kind)], {".safetensors"}))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    (folders / "checkpoints" / UNET).symlink_to(pack.demo_checkpoint().resolve())
    (folders / "checkpoints" / TRANSFORMER).symlink_to(pack.demo_transformer().resolve())
    return folders


@pytest.fixture(scope="session")
def random_loras(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    write_models(pack.demo_checkpoint().resolve(), models)
    return models / "loras" / "random.safetensors"


@pytest.fixture
def epochs(model_folders, random_loras):
    """Three LoRAs of one training, in a folder of their own."""
    folder = model_folders / "loras" / "training"
    folder.mkdir()
    for number in (1, 2, 10):
        shutil.copy(random_loras, folder / f"epoch-{number}.safetensors")
    return folder


@pytest.fixture(scope="session")
def small_encoder(comfyui, tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders")
    write_clip(folder / "clip")
    with encoders_in(folder):
        return loaded_encoder("clip")


@pytest.fixture
def sheets(model_folders, demo, small_encoder, monkeypatch):
    """ComfyUI with the nodes of this test's graphs."""
    import nodes

    from mental_averages.nodes import probing

    monkeypatch.setattr(SheetGiven, "values", (*demo, small_encoder, 0))
    for node in (probing.ConceptSheet, probing.ConceptSheetCell, probing.ConceptSheetDrawn, probing.ConceptSheetModels):
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, node.GET_SCHEMA().node_id, node)
    for node in (SheetGiven, SheetResult):
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, node.__name__, node)
    return model_folders


@pytest.fixture
def loads(monkeypatch):
    """What core's loader of checkpoints is asked for: the names, and how many networks that it had made before are
    still in memory each time."""
    import nodes

    made, asked = [], []
    load = nodes.CheckpointLoaderSimple.load_checkpoint

    def counted(self, ckpt_name):
        gc.collect()
        asked.append((ckpt_name, sum(network() is not None for network in made)))
        found = load(self, ckpt_name)
        made.append(weakref.ref(found[0].model))
        return found

    monkeypatch.setattr(nodes.CheckpointLoaderSimple, "load_checkpoint", counted)
    asked_and_made = asked, made
    return asked_and_made


@pytest.fixture
def comfy(sheets):
    def made(cache="CLASSIC"):
        return Comfy(cache, "sheet", SheetResult)
    return made
