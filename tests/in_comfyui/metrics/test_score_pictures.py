"""ScorePictures: scores are the library's, the best come first, and what is refused before pictures are read."""
import pytest
import torch
from encoder_folders import write_clip, write_dinov2
from loaded_encoders import ClipVision, Untouched, encoders_in, loaded_encoder
from published_models import write_image_reward_files

from mental_averages.dma import encoders, metrics

GENERATOR = torch.Generator().manual_seed(0)
IMAGES, REFERENCE = torch.rand(5, 16, 16, 3, generator=GENERATOR), torch.rand(8, 16, 16, 3, generator=GENERATOR)


def score(comfyui, images=IMAGES, by="sharpness", **change):
    from mental_averages.nodes.metrics import ScorePictures

    with torch.inference_mode():
        return ScorePictures.execute(images, by, **{**dict(prompt="", keep=1, shown=12), **change}).args


@pytest.fixture(scope="module")
def loaded(comfyui, tmp_path_factory):
    """Encoders of LoadImageEncoder by the name of their kind."""
    with encoders_in(tmp_path_factory.mktemp("encoders")) as folder:
        for name, write in (("clip", write_clip), ("dinov2", write_dinov2)):
            write(folder / name)
        encoders.write_image_reward(*write_image_reward_files(folder / "files"), folder / "reward")
        yield {name: loaded_encoder(name) for name in ("clip", "dinov2", "reward")}


def scores_of(table, name):
    """The scores of a table in the order of the batch."""
    found = {row.subject: row.value for row in table.rows if row.name == name}
    return [found[f"picture {number}"] for number in range(1, len(found) + 1)]


def test_the_sharpest_come_first(comfyui):
    images = IMAGES * torch.tensor([0.5, 1.0, 0.25, 0.8, 0.1])[:, None, None, None]
    best, sheet, table, index = score(comfyui, images, keep=3)
    assert index == 1 and torch.equal(best, images[[1, 3, 0]])
    assert scores_of(table, "sharpness") == pytest.approx(metrics.sharpness(images).tolist())
    assert table.subjects()[0] == "picture 2" and table.settings["score"] == "sharpness"
    assert sheet.shape[0] == 1 and sheet.std() > 0.05


def test_typicality_among_the_pictures_and_beside_a_reference(comfyui):
    def embedded(pictures):
        return encoders.unit_embeddings(pictures, lambda rows: ClipVision().encode_image(rows)["image_embeds"])

    best, _, table, index = score(comfyui, by="typicality", clip_vision=ClipVision())
    expected = metrics.typicality(embedded(IMAGES), embedded(IMAGES), own=torch.eye(5))
    assert scores_of(table, "typicality") == pytest.approx(expected.tolist(), abs=1e-6)
    assert index == expected.argmax() and torch.equal(best, IMAGES[[index]])
    beside = score(comfyui, by="typicality", clip_vision=ClipVision(), reference=REFERENCE)[2]
    assert scores_of(beside, "typicality") == pytest.approx(
        (embedded(IMAGES) @ embedded(REFERENCE).T).mean(1).tolist(), abs=1e-6)
    assert [{row.note for row in found.rows if row.name == "typicality"} for found in (table, beside)] == [
        {"beside the other pictures"}, {"beside the reference"}]


def test_the_fit_to_a_prompt(comfyui, loaded):
    table, index = score(comfyui, by="CLIP-T", prompt="a c", image_encoder=loaded["clip"])[2:]
    encoder = loaded["clip"].encoder
    expected = (encoders.embed_images(encoder, IMAGES) @ encoders.embed_texts(encoder, ["a c"]).T)[:, 0]
    assert scores_of(table, "CLIP-T") == pytest.approx(expected.tolist(), abs=1e-6)
    assert index == expected.argmax() and set(table.names()) == {"CLIP-T", "typicality", "sharpness"}


def test_a_prompt_that_the_encoder_cannot_read_is_left_out_where_it_is_not_asked_for(comfyui, loaded):
    table = score(comfyui, prompt="a c", image_encoder=loaded["dinov2"])[2]
    assert set(table.names()) == {"typicality", "sharpness"}
    with pytest.raises(ValueError, match="dinov2 is a dinov2 model, which does not compare"):
        score(comfyui, by="CLIP-T", prompt="a c", image_encoder=loaded["dinov2"])


def test_rewards(comfyui, loaded):
    table, index = score(comfyui, by="ImageReward", prompt="red heart", reward_model=loaded["reward"])[2:]
    expected = encoders.image_rewards(loaded["reward"].encoder, IMAGES, "red heart")
    assert table.settings["reward_model"] == "reward"
    assert scores_of(table, "ImageReward") == pytest.approx(expected.tolist(), abs=1e-5)
    assert index == expected.argmax() and table.names() == ["sharpness", "ImageReward"]


@pytest.mark.parametrize("change, complaint", [
    (dict(by="ImageReward", prompt="a"), "none is connected: load its folder"),
    (dict(by="ImageReward", reward_model="reward"), "prompt is empty"),
    (dict(reward_model="clip"), "clip is a clip model, which gives no rewards: .* Connect it to reward_model"),
    (dict(image_encoder="reward"), "reward is an ImageReward, which scores pictures and does not compare them")])
def test_rewards_that_cannot_be_given_are_told(comfyui, loaded, change, complaint):
    models = {name: loaded[value] for name, value in change.items() if name in ("reward_model", "image_encoder")}
    with pytest.raises(ValueError, match=complaint):
        score(comfyui, **{**change, **models})


def test_the_sheet_shows_as_many_as_asked(comfyui):
    one, two, four, five, more = (score(comfyui, shown=shown)[1].shape[1:3] for shown in (1, 2, 4, 5, 200))
    assert one[0] < two[0] < four[0] == five[0] and four[1] < five[1] and five == more


@pytest.mark.parametrize("change, complaint", [
    (dict(keep=6), "keep is 6, but there are 5 pictures"), (dict(by="CLIP-T"), "prompt is empty"),
    (dict(by="CLIP-T", prompt="a"), "ComfyUI's CLIP Vision reads no text"),
    (dict(by="typicality", clip_vision=None), "typicality is taken by an encoder"),
    (dict(by="typicality", images=IMAGES[:1]), "there is one: connect more"),
    (dict(images=torch.rand(2, 2, 9, 3)), "3 x 3 pixels"), (dict(by="taste"), "taste"),
    (dict(images=torch.full((2, 8, 8, 3), float("nan"))), "NaN"), (dict(images=255 * IMAGES), "values from 0 to 1"),
    (dict(reference=2 * REFERENCE - 1), "values from 0 to 1"), (dict(keep=0), "keep is 0"),
    (dict(image_encoder=object()), "both connected")])
def test_bad_inputs_are_refused_before_pictures_are_read(comfyui, change, complaint):
    with pytest.raises(ValueError, match=complaint):
        score(comfyui, **{**dict(clip_vision=Untouched()), **change})
