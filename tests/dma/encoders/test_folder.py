import pytest
import torch

from mental_averages.dma.encoders import check_folder, load_encoder


@pytest.mark.parametrize("name",
                         ["config.json", "preprocessor_config.json", "model.safetensors", "vocab.json", "merges.txt"])
def test_missing_files_are_named(plain_clip, name):
    (plain_clip / name).unlink()
    with pytest.raises(ValueError, match=f"has no {name}"):
        check_folder(plain_clip)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors", "tokenizer.json",
                                  "tokenizer_config.json", "vocab.json", "merges.txt"])
@pytest.mark.parametrize("kept", [0, 0.5, 0.98])
def test_truncated_files_are_named(request, name, kept):
    folder = request.getfixturevalue("plain_clip" if name in ("vocab.json", "merges.txt") else "clip_folder")
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        check_folder(folder)


def test_no_pickle(clip_folder):
    (clip_folder / "model.safetensors").unlink()
    torch.save({}, clip_folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="can run code when it is read: put model.safetensors there"):
        load_encoder(clip_folder)


@pytest.mark.parametrize("content, message", [
    ('{"model_type": "bert"}', "type 'bert'"), ("[]", "not a JSON object"), ("{}", "type None"),
    ('{"model_type": "siglip2"}', "NaFlex, of type 'siglip2'.*put a SigLIP 2 of one size"),
    ('{"model_type": "siglip2_vision_model"}', "NaFlex")])
def test_other_models(clip_folder, content, message):
    (clip_folder / "config.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        check_folder(clip_folder)
    with pytest.raises(ValueError, match="no folder .*put an encoder's folder there"):
        check_folder(clip_folder / "nothing")


def test_the_kind_is_that_of_the_configuration(folders):
    assert {kind: check_folder(folder) for kind, folder in folders.items()} == {kind: kind for kind in folders}
