"""LoadImageEncoder, AttributeEmbed, CLIPGMMClusters and SelectMode, inside inference mode as ComfyUI runs them."""
import json
import shutil

import pytest
import torch
from encoder_folders import write_blip, write_clip, write_dinov2

DIMENSIONS = {"reduction": "dimensions", "dimensions": 4}
THREE = {"components": "fixed", "count": 3}
PROMPTS = {"method": "prompts", "prompts": "dark\n\n light \nno", "score": "cosine"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("written")
    return {"clip": write_clip(root / "clip"), "blip": write_blip(root / "maker" / "blip"),
            "dinov2": write_dinov2(root / "dinov2")}


@pytest.fixture
def encoders(comfyui, written, monkeypatch):
    """ComfyUI's folder of image encoders, with a CLIP, a BLIP-VQA one level down, and a DINOv2."""
    import folder_paths

    from mental_averages.nodes import modes

    root = written["clip"].parent
    monkeypatch.setitem(folder_paths.folder_names_and_paths, modes.FOLDER, ([str(root)], set()))
    return root


@pytest.fixture(scope="module")
def images():
    """Three colours, 8 + 5 + 3 pictures with a little noise, and which is which."""
    truth = torch.tensor([0, 1, 0, 2, 0, 1, 0, 0, 1, 2, 0, 1, 0, 1, 2, 0])
    noise = torch.rand(16, 40, 40, 3, generator=torch.Generator().manual_seed(0))
    return 0.95 * torch.eye(3)[truth][:, None, None] + 0.05 * noise, truth


@torch.inference_mode()
def load(name):
    from mental_averages.nodes.modes import LoadImageEncoder

    return LoadImageEncoder.execute(name).args[0]


@torch.inference_mode()
def clusters_of(images, components=THREE, **change):
    from mental_averages.nodes.modes import CLIPGMMClusters

    arguments = dict(reduction=DIMENSIONS, components=components, covariance="spherical", minimum_size=2,
                     small_clusters="merge", seed=0)
    return CLIPGMMClusters.execute(images, **{**arguments, **change}).args


VISION = {"clip_vision": dict(model_type="clip_vision_model", projection_dim=8, hidden_act="quick_gelu"),
          "siglip_vision": dict(model_type="siglip_vision_model", hidden_act="gelu_pytorch_tanh"),
          "siglip2_vision": dict(model_type="siglip2_vision_model", num_patches=16, hidden_act="gelu_pytorch_tanh")}


def random_clip_vision(kind):
    """A small CLIP_VISION of ComfyUI's own class."""
    import comfy.clip_vision

    config = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=32,
                  patch_size=8, num_channels=3, layer_norm_eps=1e-5, **VISION[kind])
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        model = comfy.clip_vision.ClipVisionModel(config)
        for name, parameter in model.model.named_parameters():
            norm = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + norm)
    return model


@pytest.mark.parametrize("source", [*VISION, "clip", "dinov2", "maker/blip", "prompts"])
def test_colours_are_found_from_every_source(encoders, images, source):
    from mental_averages.nodes.modes import AttributeEmbed

    pictures, truth = images
    if source in VISION:
        change = dict(clip_vision=random_clip_vision(source))
    elif source == "prompts":
        with torch.inference_mode():
            change = dict(embeddings=AttributeEmbed.execute(pictures, load("clip"), PROMPTS).args[0])
    else:
        change = dict(image_encoder=load(source))
    clusters, sheet, scatter, bic, text = clusters_of(pictures, **change)
    assert torch.equal(clusters.labels, truth), "the colours are numbered by how many pictures they have"
    assert json.loads(text)["labels"] == truth.tolist()
    for image in (sheet, scatter, bic):
        assert image.ndim == 4 and image.shape[0] == 1 and image.shape[-1] == 3
    again = clusters_of(pictures, **change)
    assert again[4] == text and torch.equal(again[1], sheet)


def test_questions_are_answered_and_counted(encoders, images):
    from mental_averages.nodes.modes import AttributeEmbed

    method = {"method": "question", "question": "what is the skin tone?", "state": "question_class_token"}
    with torch.inference_mode():
        embeddings, counts, text = AttributeEmbed.execute(images[0], load("maker/blip"), method).args
    data = json.loads(text)
    assert (sum(data["counts"].values()) == len(data["answers"]) == 16
            and data["settings"]["state"] == "question_class_token")
    assert sum(int(line.split()[0]) for line in counts.splitlines()) == 16
    clusters = clusters_of(images[0], {"components": "bic", "smallest": 1, "largest": 5}, embeddings=embeddings)[0]
    assert len(clusters.bic) == 5 and clusters.coordinates.shape == (16, 4)


def test_share_of_variance(encoders, images):
    clusters = clusters_of(images[0], reduction={"reduction": "variance",
                                                 "variance_share": 0.9}, image_encoder=load("clip"))[0]
    assert sum(clusters.explained_variance) >= 0.9 > sum(clusters.explained_variance[:-1])


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
    from mental_averages.nodes.modes import LoadImageEncoder, encoder_names

    assert encoder_names() == ["clip", "dinov2", "maker/blip"]
    assert LoadImageEncoder.validate_inputs("clip") is True
    assert LoadImageEncoder.fingerprint_inputs("clip") != LoadImageEncoder.fingerprint_inputs("dinov2")
    shutil.copytree(encoders / "clip", encoders.parent / "outside", dirs_exist_ok=True)
    for name in ("../outside", str(encoders.parent / "outside"), "", ".", "absent"):
        assert "There is no image encoder" in LoadImageEncoder.validate_inputs(name)
        with pytest.raises(ValueError, match="put a CLIP, SigLIP, DINOv2 or BLIP-VQA folder"):
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


def test_exactly_one_source(encoders, images):
    from mental_averages.dma.encoders import AttributeEmbeddings

    embeddings = AttributeEmbeddings(torch.randn(16, 3), ("",) * 16, {})
    with pytest.raises(ValueError, match="but none is connected"):
        clusters_of(images[0])
    with pytest.raises(ValueError, match="but image_encoder and embeddings are connected"):
        clusters_of(images[0], image_encoder=load("clip"), embeddings=embeddings)
    with pytest.raises(ValueError, match="4 pictures but embeddings of 16"):
        clusters_of(images[0][:4], embeddings=embeddings)


def test_bad_input_before_the_encoder_runs(comfyui, images):
    from mental_averages.nodes.modes import AttributeEmbed

    encoder = object()  # any use of it would fail
    one, several = {"components": "fixed", "count": 1}, {"components": "bic", "smallest": 1, "largest": 8}
    for pictures, change, message in (
            (images[0][:1], {}, "at least two pictures"),
            (images[0][:1], dict(components=one), "at least two pictures, but there is 1"),
            (images[0][:1], dict(components=several), "at least two pictures"),
            (images[0][:5], dict(components=several), "8 clusters need at least as many"),
            (images[0][:1].expand(5, -1, -1, -1), {}, "All 5 pictures are the same"),
            (images[0][:2], {}, "3 clusters need at least as many pictures"),
            (torch.zeros(0, 8, 8, 3), {}, "shape"), (images[0] * float("nan"), {}, "NaN"),
            (images[0], dict(minimum_size=17), "only 16 pictures"),
            (images[0], dict(components={"components": "bic", "smallest": 4, "largest": 2}), "from 4 to 2")):
        with pytest.raises(ValueError, match=message):
            clusters_of(pictures, image_encoder=encoder, **change)
    with pytest.raises(ValueError, match="NaN"):
        AttributeEmbed.execute(images[0] * float("nan"), encoder, PROMPTS)


def test_broken_embeddings_and_pictures_that_no_encoder_tells_apart(encoders, images):
    from mental_averages.dma.encoders import AttributeEmbeddings

    values = torch.randn(16, 3)
    values[4, 1] = float("nan")
    with pytest.raises(ValueError,
                       match=r"embedding of 1 of 16 pictures contains NaN or infinity \(first: picture 4\)"):
        clusters_of(images[0], embeddings=AttributeEmbeddings(values, ("",) * 16, {}))
    nearly = images[0][:1].repeat(5, 1, 1, 1)
    nearly[1, 0, 0, 0] += 1e-6
    with pytest.raises(ValueError, match="All 5 pictures have the same embedding"):
        clusters_of(nearly, image_encoder=load("clip"))


def test_attributes_name_what_is_wrong(encoders, images):
    from mental_averages.nodes.modes import AttributeEmbed

    clip, blip = load("clip"), load("maker/blip")
    for encoder, method, message in (
            (blip, {"method": "question", "question": " ", "state": "answer_start"}, "question has no text"),
            (clip, {"method": "question", "question": "what?", "state": "answer_start"}, "does not answer questions"),
            (blip, PROMPTS, "does not compare pictures with prompts"),
            (clip, {**PROMPTS, "prompts": "one"}, "at least two lines")):
        with pytest.raises(ValueError, match=message):
            AttributeEmbed.execute(images[0], encoder, method)


@pytest.fixture
def three_modes(comfyui):
    from mental_averages.dma.clustering import ClusterSettings, cluster

    return cluster(torch.tensor([[0.0], [9.0], [0.1], [9.1], [0.2], [50.0], [50.1], [0.3]]), ClusterSettings(3, 3))


def test_members_of_a_mode(three_modes):
    from mental_averages.nodes.modes import SelectMode

    pictures = torch.arange(8.0)[:, None, None, None].expand(8, 4, 4, 3)
    selected, rest, every, count = SelectMode.execute(three_modes, pictures, 0).args
    assert sorted(selected[:, 0, 0, 0].tolist()) == [0, 2, 4, 7] and count == 4
    assert selected[:, 0, 0, 0].tolist() == list(three_modes.members[0])
    assert rest[:, 0, 0, 0].tolist() == [1, 3, 5, 6]
    assert [len(batch) for batch in every] == [4, 2, 2] and torch.equal(every[0], selected)
    latent = {"samples": pictures.permute(0, 3, 1, 2), "noise_mask": pictures[..., 0],
              "batch_index": list(range(10, 18)), "kind": "x"}
    selected, rest, _, _ = SelectMode.execute(three_modes, latent, 2).args
    chosen = list(three_modes.members[2])
    assert selected["samples"][:, 0, 0, 0].tolist() == selected["noise_mask"][:, 0, 0].tolist() == chosen
    assert (selected["batch_index"] == [10 + row for row in chosen] and selected["kind"] == "x"
            and len(rest["samples"]) == 6)
    assert len(latent["samples"]) == 8
    one_mask = {**latent, "noise_mask": torch.ones(1, 4, 4)}
    assert SelectMode.execute(three_modes, one_mask, 0).args[0]["noise_mask"].shape == (1, 4, 4)


def test_a_mode_without_others_blocks_what_follows(comfyui):
    from comfy_execution.graph_utils import ExecutionBlocker

    from mental_averages.dma.clustering import ClusterSettings, cluster
    from mental_averages.nodes.modes import SelectMode

    one = cluster(torch.tensor([[0.0], [1.0], [2.0]]), ClusterSettings(1, 1))
    selected, rest, every, count = SelectMode.execute(one, torch.zeros(3, 4, 4, 3), 0).args
    assert len(selected) == count == 3 and isinstance(rest, ExecutionBlocker) and len(every) == 1


def test_modes_that_do_not_fit(three_modes):
    from comfy.nested_tensor import NestedTensor

    from mental_averages.nodes.modes import SelectMode

    with pytest.raises(ValueError, match="of 8 pictures but this batch has 5"):
        SelectMode.execute(three_modes, torch.zeros(5, 4, 4, 3), 0)
    with pytest.raises(ValueError, match="no mode 3: these clusters have 3"):
        SelectMode.execute(three_modes, torch.zeros(8, 4, 4, 3), 3)
    with pytest.raises(ValueError, match="plain batches only"):
        SelectMode.execute(three_modes, {"samples": NestedTensor([torch.zeros(8, 4, 4, 4)] * 2)}, 0)
