"""The demo CLIP: its tokenizer and folder, and its training on made-up pictures with a smaller network."""
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import pack
from mental_averages.dma import encoders
from mental_averages.dma.encoders import prompt_scores

sys.path.insert(0, str(pack.ROOT / "demo"))
import clip_model
import train_clip
from dataset import Picture

CAPTIONS = ["red heart", "woman health worker dark skin tone", "woman health worker light skin tone", "red apple",
            "heart"] * 2


@pytest.fixture(scope="module")
def merges():
    return clip_model.learn_merges(CAPTIONS, 40)


@pytest.fixture(scope="module")
def tokenizer(merges):
    return clip_model.make_tokenizer(merges)


@pytest.fixture(autouse=True)
def one_thread():
    """Two threads take longer than one over matrices this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def small_network(tokenizer):
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    last = tokenizer.eos_token_id
    return CLIPModel(CLIPConfig(projection_dim=8, vision_config=dict(**sizes, image_size=16, patch_size=8),
                                text_config=dict(
                                    **sizes, vocab_size=len(tokenizer), max_position_embeddings=clip_model.LENGTH,
                                    bos_token_id=last - 1, eos_token_id=last, pad_token_id=last)))


def test_tokenizer_joins_known_words_and_knows_every_text(tokenizer, merges):
    assert 0 < len(merges) <= 40
    ids = tokenizer("red heart")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id and ids[-1] == tokenizer.eos_token_id == len(tokenizer) - 1
    assert tokenizer.convert_ids_to_tokens(ids)[1:-1] == ["red</w>", "heart</w>"]
    for text in ("RED  heart", "éà ½ 漢字", "zebra 42!"):
        assert tokenizer.eos_token_id not in tokenizer(text)["input_ids"][1:-1]
    assert tokenizer("RED  heart")["input_ids"] == ids


def test_stored_and_written_folder_reads_as_any_other(tmp_path, merges, tokenizer):
    from transformers import CLIPModel, CLIPProcessor

    from mental_averages.dma import encoders

    torch.manual_seed(0)
    model = clip_model.build(tokenizer).eval()
    clip_model.pack(model.state_dict(), merges, {"figure": 1.0}, tmp_path / "stored.safetensors")
    assert (tmp_path / "stored.safetensors").stat().st_size < 5 * 2**20
    state, found = clip_model.unpack(tmp_path / "stored.safetensors")
    assert found == merges
    clip_model.write_folder(tmp_path / "clip", state, found)
    encoder = encoders.load_encoder(tmp_path / "clip")
    assert encoder.tokenizer("red heart zebra")["input_ids"] == tokenizer("red heart zebra")["input_ids"]
    images = torch.rand(3, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        seen = train_clip.encode_pictures(model, train_clip.normalised((images * 255).round().byte()))
        read = train_clip.encode_texts(model, tokenizer, ["red heart", "zebra"], torch.device("cpu"))
    assert F.cosine_similarity(encoders.embed_images(encoder, images), seen).min() > 0.99
    assert F.cosine_similarity(encoders.embed_texts(encoder, ["red heart", "zebra"]), read).min() > 0.99
    CLIPModel.from_pretrained(tmp_path / "clip", local_files_only=True)
    assert CLIPProcessor.from_pretrained(tmp_path / "clip", local_files_only=True)(text=[
        "heart"], return_tensors="pt")["input_ids"].shape == (1, 3)


def test_pictures_with_one_caption_share_it():
    """Two pictures with the same caption and a third: at a large scale the loss is ln 2 for the two, 0 for the
    third."""
    pictures = torch.eye(3)[[0, 0, 1]]
    loss = train_clip.contrastive_loss(pictures, pictures, torch.tensor(100.0), ["heart", "heart", "apple"])
    assert loss.item() == pytest.approx(2 / 3 * math.log(2), abs=1e-6)
    different = train_clip.contrastive_loss(torch.eye(3), torch.eye(3), torch.tensor(2.0), ["a", "b", "c"])
    assert different.item() == pytest.approx(math.log(1 + 2 * math.exp(-2.0)), abs=1e-6)


def test_shifts_move_pictures_over_white():
    images = np.zeros((50, 16, 16, 3), np.uint8)
    moved = train_clip.shifted(images, np.random.default_rng(0))
    black = (moved == 0).all(-1).sum((1, 2))
    assert (moved.shape == images.shape and black.min() >= 12 * 12 and black.max() <= 256
            and len(set(black.tolist())) > 3)


def made_up(count=12):
    pictures = [Picture(CAPTIONS[index % 5], CAPTIONS[index % 5], "noto", False) for index in range(count)]
    return pictures, np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def arguments(run, **change):
    return SimpleNamespace(**{**dict(run=run, steps=6, deadline=None, seed=0, batch=8, peak=1e-3, save_every=2,
                                      tones=0.5), **change})


def test_an_interrupted_training_equals_an_uninterrupted_one(tmp_path, tokenizer, monkeypatch):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    whole = train_clip.train(small_network(tokenizer), tokenizer, *made_up(), arguments(tmp_path / "a"))
    original = train_clip.learning_rate

    def interrupt(step, *others):
        if step == 5:
            raise KeyboardInterrupt
        return original(step, *others)

    monkeypatch.setattr(train_clip, "learning_rate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_clip.train(small_network(tokenizer), tokenizer, *made_up(), arguments(tmp_path / "b"))
    monkeypatch.setattr(train_clip, "learning_rate", original)
    resumed = train_clip.train(small_network(tokenizer), tokenizer, *made_up(), arguments(tmp_path / "b"))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    with pytest.raises(SystemExit, match="other settings"):
        train_clip.train(small_network(tokenizer), tokenizer, *made_up(), arguments(tmp_path / "b", steps=7))


def test_training_learns_a_handful_of_pictures_and_evaluation_sees_it(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(train_clip, "caption_for", lambda picture, generator: picture.caption)
    monkeypatch.setattr(train_clip, "learning_rate", lambda step, share, peak: peak)
    pictures, _ = made_up(5)
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 0], [255, 255, 0]], np.uint8)
    images = np.broadcast_to(colours[:, None, None], (5, 16, 16, 3)).copy()
    before = train_clip.evaluate(small_network(tokenizer), tokenizer, pictures, images)
    trained = train_clip.train(small_network(tokenizer), tokenizer, pictures, images,
                               arguments(tmp_path, steps=40, batch=10, peak=3e-3, save_every=40))
    after = train_clip.evaluate(trained, tokenizer, pictures, images)
    assert after["image_to_caption_top1"] == after["caption_to_image_top1"] == 1.0 > before["image_to_caption_top1"]
    assert after["caption_candidates"] == 5 and after["skin_tone_pictures"] == 2


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders") / "demo_clip"
    clip_model.write_folder(folder, *clip_model.unpack())
    return encoders.load_encoder(folder)


def test_the_stored_network_is_light_and_knows_a_cat_when_it_sees_one(encoder):
    """The pictures that come with the pack, all of cats' faces."""
    assert clip_model.PATH.stat().st_size <= 5 * 2**20
    pictures = sorted((pack.ROOT / "demo" / "pictures").glob("*.png"))
    images = torch.stack([torch.from_numpy(np.array(Image.open(path).convert("RGB").resize((64, 64))))
                          for path in pictures]).float() / 255
    scored = prompt_scores(encoder, images,
                           ["cat face", "dog face", "red heart", "pizza", "house", "rocket", "tree", "yellow circle"])
    # The crying one is closed in by its tears.
    assert scored.answers.count("cat face") >= 7
