"""The demo CLIP: its tokenizer and folder, and its training on made-up pictures with a smaller network."""
import copy
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from threads import threads
from torch.utils._python_dispatch import TorchDispatchMode

import pack
from mental_averages.dma import encoders
from mental_averages.dma.encoders import prompt_scores

sys.path.insert(0, str(pack.ROOT / "demo"))
import clip_model
import train_clip
from dataset import Picture
from training import Data

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
    with threads(1):
        yield


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
        read = train_clip.encode_texts(model, train_clip.token_ids(tokenizer, ["red heart", "zebra"]))
    assert F.cosine_similarity(encoders.embed_images(encoder, images), seen).min() > 0.99
    assert F.cosine_similarity(encoders.embed_texts(encoder, ["red heart", "zebra"]), read).min() > 0.99
    CLIPModel.from_pretrained(tmp_path / "clip", local_files_only=True)
    assert CLIPProcessor.from_pretrained(tmp_path / "clip", local_files_only=True)(text=[
        "heart"], return_tensors="pt")["input_ids"].shape == (1, 3)


def test_pictures_with_one_caption_share_it():
    """Two pictures with the same caption and a third: at a large scale the loss is ln 2 for the two, 0 for the
    third."""
    pictures = torch.eye(3)[[0, 0, 1]]
    loss = train_clip.contrastive_loss(pictures, pictures, torch.tensor(100.0), torch.tensor([7, 7, 2]))
    assert loss.item() == pytest.approx(2 / 3 * math.log(2), abs=1e-6)
    different = train_clip.contrastive_loss(torch.eye(3), torch.eye(3), torch.tensor(2.0), torch.arange(3))
    assert different.item() == pytest.approx(math.log(1 + 2 * math.exp(-2.0)), abs=1e-6)


def test_only_pictures_with_one_tone_are_asked_for_it():
    seen, prompts, scale = torch.eye(5)[[1, 0, 3]], torch.eye(5), torch.tensor(2.0)
    right, wrong = math.log(1 + 4 * math.exp(-2.0)), math.log(math.exp(2.0) + 4)
    for tones, expected in (([1, -1, 3], right), ([1, 2, -1], (right + wrong) / 2), ([-1, -1, -1], 0.0)):
        assert train_clip.label_loss(seen, prompts, scale, torch.tensor(tones)).item() == pytest.approx(expected, 1e-5)
    assert [train_clip.tone_of(Picture(caption, "", "noto", False)) for caption in (
        "woman medium dark skin tone", "kiss light skin tone dark skin tone", "red heart")] == [3, -1, -1]
    assert [train_clip.kind_of(Picture("", "", "noto", False, kind)) for kind in ("food", None)] == [2, -1]


def test_shifts_move_pictures_over_white():
    images = torch.zeros(50, 16, 12, 3, dtype=torch.uint8)
    images[:, 8, 6] = 1
    moved = train_clip.shifted(images, torch.Generator().manual_seed(0))
    drawn = (moved < 255).all(-1).sum((1, 2))
    assert moved.shape == images.shape and drawn.min() >= 12 * 8 and drawn.max() <= 16 * 12
    # The mark goes where the whole picture goes, by up to four pixels to all sides.
    places = (moved == 1).all(-1).nonzero()  # (50, 3)
    assert places[:, 0].tolist() == list(range(50))
    for axis, centre in ((1, 8), (2, 6)):
        assert set((places[:, axis] - centre).tolist()) == set(range(-4, 5))


def test_padding_changes_nothing(tokenizer):
    """No token sees what is behind its text, so that the network needs no mask."""
    network, texts = small_network(tokenizer).eval(), ["heart", "woman health worker dark skin tone"]
    together = train_clip.encode_texts(network, train_clip.token_ids(tokenizer, texts))
    alone = torch.cat([train_clip.encode_texts(network, train_clip.token_ids(tokenizer, [text])) for text in texts])
    assert torch.allclose(together, alone, atol=1e-5)


def test_captions_are_those_of_the_table(tokenizer):
    pictures = made_up().pictures
    numbers, ids = train_clip.caption_table(pictures, tokenizer)
    captions = train_clip.captions_for(pictures)
    assert numbers.shape == (12, train_clip.CAPTIONS) and all(all(row) for row in captions)
    for row, place in ((0, 0), (7, 3), (11, 15)):
        caption = tokenizer(captions[row][place])["input_ids"]
        assert ids[numbers[row, place]].tolist()[: len(caption)] == caption


def made_up(count=12, images=None):
    pictures = [Picture(CAPTIONS[index % 5], CAPTIONS[index % 5], "noto", False) for index in range(count)]
    if images is None:
        images = torch.randint(256, (count, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    shares = torch.arange(1, count + 1, dtype=torch.float64) / count
    return Data(pictures, [], images, images[:0], shares, None, "split")


def train(run, tokenizer, data, *, after_save=lambda step: None, split="split", **change):
    """The averaged network after a training of a small one."""
    run.mkdir(exist_ok=True)
    arguments = SimpleNamespace(**{**dict(run=run, steps=6, deadline=None, seed=0, batch=8, peak=1e-3, tones=0.5,
                                          kinds=0.0, final_batches=1), **change})
    model = small_network(tokenizer)
    averaged = copy.deepcopy(model).requires_grad_(False)
    train_clip.train(model, tokenizer, data, arguments, after_save, averaged, split=split)
    return averaged


def test_a_run_keeps_its_byte_pairs(tmp_path, monkeypatch):
    """The library gives pairs that are as frequent in another order each time."""
    learnt = train_clip.kept_merges(tmp_path, made_up(), by_clock=False)
    assert ("h", "ea") in learnt
    monkeypatch.setattr(clip_model, "learn_merges", lambda captions: learnt[::-1])
    (tmp_path / "clip.pt").touch()
    assert train_clip.kept_merges(tmp_path, made_up(), by_clock=False) == learnt
    # What begins anew, as by the clock, learns them from its own captions.
    assert train_clip.kept_merges(tmp_path, made_up(), by_clock=True) == learnt[::-1]


def test_byte_pairs_stay_where_a_training_by_the_clock_is_refused(tmp_path):
    train_clip.kept_merges(tmp_path, made_up(), by_clock=False)
    kept = (tmp_path / "clip_merges.json").read_bytes()
    torch.save({"optimiser": {}}, tmp_path / "clip.pt")
    with pytest.raises(SystemExit, match="is of a training by steps"):
        train_clip.run_training(made_up(), SimpleNamespace(run=tmp_path, deadline=1.0))
    assert (tmp_path / "clip_merges.json").read_bytes() == kept
    assert {path.name for path in tmp_path.iterdir()} == {"clip.pt", "clip_merges.json"}


def test_an_interrupted_training_equals_an_uninterrupted_one(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(train_clip, "SAVE_EVERY", 2)
    whole = train(tmp_path / "a", tokenizer, made_up())

    def interrupt(step):
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "b", tokenizer, made_up(), after_save=interrupt)
    resumed = train(tmp_path / "b", tokenizer, made_up())
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    with pytest.raises(SystemExit, match=r"another split \(split\) than that of now \(other\)"):
        train(tmp_path / "b", tokenizer, made_up(), split="other")
    # What was saved and not packed is packed when it is started again.
    said = []
    train(tmp_path / "b", tokenizer, made_up(), after_save=said.append)
    assert said == [6]


class Values(TorchDispatchMode):
    """Counts how often Python asks for a tensor's value, for which a card has to finish all that it was given."""

    count = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*arguments, **(options or {}))


def test_no_step_waits_for_its_loss(tmp_path, tokenizer):
    counts = []
    for steps in (3, 9):
        with Values() as values:
            train(tmp_path / f"{steps}", tokenizer, made_up(), steps=steps)
        counts.append(values.count)
    assert 1 <= counts[0] == counts[1], "the last log line asks, whatever the number of steps"


def test_training_learns_a_handful_of_pictures_and_evaluation_sees_it(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(train_clip, "captions_for", lambda pictures: [[picture.caption] for picture in pictures])
    colours = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 0], [255, 255, 0]], dtype=torch.uint8)
    data = made_up(5, colours[:, None, None].expand(5, 16, 16, 3).contiguous())
    before = train_clip.evaluate(small_network(tokenizer), tokenizer, data.pictures, data.images)
    trained = train(tmp_path, tokenizer, data, steps=60, batch=10, peak=3e-3)
    after = train_clip.evaluate(trained, tokenizer, data.pictures, data.images)
    assert after["image_to_caption_top1"] == after["caption_to_image_top1"] == 1.0 > before["image_to_caption_top1"]
    assert after["caption_candidates"] == 5 and after["skin_tone_pictures"] == 2


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders") / "demo_clip"
    clip_model.write_folder(folder, *clip_model.unpack())
    return encoders.load_encoder(folder)


def test_the_stored_network_is_light_and_knows_a_cat_when_it_sees_one(encoder):
    """The animals among the pictures that come with the pack."""
    assert clip_model.PATH.stat().st_size <= 5 * 2**20
    names = {"demo_cat_face": "cat face", "demo_dog_face": "dog face", "demo_bear": "bear", "demo_panda": "panda"}
    pictures = [pack.ROOT / "demo" / "pictures" / f"{name}.png" for name in names]
    images = torch.stack([torch.from_numpy(np.array(Image.open(path).convert("RGB").resize((64, 64))))
                          for path in pictures]).float() / 255
    scored = prompt_scores(encoder, images, [*names.values(), "red heart", "pizza", "house", "rocket"])
    assert list(scored.answers) == list(names.values())
