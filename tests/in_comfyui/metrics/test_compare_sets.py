"""CompareSets: its numbers are the library's of the encoder's embeddings; what is refused before pictures are read."""
import csv
import io
import math

import pytest
import torch
from clusterings import random_clip_vision
from encoder_folders import write_blip, write_clip, write_dinov2
from loaded_encoders import ClipVision, Untouched, encoders_in, loaded_encoder
from published_models import write_dreamsim_files

from mental_averages.dma import encoders, metrics
from mental_averages.dma.metrics import MeasureTable

GENERATOR = torch.Generator().manual_seed(0)
IMAGES, REFERENCE = torch.rand(4, 16, 16, 3, generator=GENERATOR), torch.rand(12, 16, 16, 3, generator=GENERATOR) ** 2
LATENTS = {"samples": torch.randn(4, 4, 8, 8, generator=GENERATOR)}


def compare(comfyui, images=IMAGES, reference=REFERENCE, **change):
    from mental_averages.nodes.metrics import CompareSets

    arguments = dict(name="average", prompt="", ensemble_size=1, paired=False, subset_size=0)
    with torch.inference_mode():
        return CompareSets.execute(images, reference, **{**arguments, **change}).args


@pytest.fixture(scope="module")
def loaded(comfyui, tmp_path_factory):
    """Encoders of LoadImageEncoder by the name of their kind."""
    with encoders_in(tmp_path_factory.mktemp("encoders")) as folder:
        for name, write in (("clip", write_clip), ("dinov2", write_dinov2), ("blip", write_blip)):
            write(folder / name)
        encoders.write_dreamsim(*write_dreamsim_files(folder / "files"), folder / "dreamsim")
        yield {name: loaded_encoder(name) for name in ("clip", "dinov2", "blip", "dreamsim")}


def embedded(pictures):
    return encoders.unit_embeddings(pictures, lambda rows: ClipVision().encode_image(rows)["image_embeds"])


def by_name(table, subject="average"):
    return {row.name: row for row in table.rows if row.subject == subject}


def test_numbers_are_those_of_the_embeddings(comfyui):
    table, picture, text, json = compare(comfyui, clip_vision=ClipVision())
    expected = (metrics.compare_looks("average", IMAGES, REFERENCE)
                + metrics.compare_features("average", embedded(IMAGES), embedded(REFERENCE))
                + [metrics.diversity("reference", embedded(REFERENCE))])
    assert table.rows == expected
    assert table.settings["encoder"] == "clip_vision" and table.settings["reference"] == 12
    assert MeasureTable.from_json(json) == table
    assert [row["name"] for row in csv.DictReader(io.StringIO(text))] == [row.name for row in expected]
    assert picture.shape[0] == 1 and picture.shape[2:] == (1024, 3) and picture.std() > 0.02


def test_copies_in_a_set_are_told_where_there_is_an_interval(comfyui):
    """With every picture twice in both sets 79 of 100 intervals of 95 % held the truth."""
    twice = torch.cat([IMAGES, IMAGES[:1]])
    table = compare(comfyui, twice, torch.cat([REFERENCE, REFERENCE]), clip_vision=ClipVision(), subset_size=3)[0]
    said = "the interval is too narrow, since pictures are there more than once "
    own = {"consistency", "diversity"}
    assert own < {row.name for row in table.rows}
    for row in table.rows:
        which = ("12 of reference" if row.subject == "reference" else "1 of images" if row.name in own
                 else "1 of images and 12 of reference")
        assert (f"{said}({which} are copies)" in row.note) == (row.low is not None)
    alone = compare(comfyui, twice, clip_vision=ClipVision())[0].rows
    assert [row.name for row in alone if row.low is not None and said not in row.note] == ["diversity"]
    assert "copies" not in "".join(row.note for row in compare(comfyui)[0].rows)
    assert "(1 of images are copies)" in compare(comfyui, twice)[0].rows[0].note
    returned = {"samples": LATENTS["samples"] * torch.tensor([1.1, 1.2, 1.3, 1.4]).view(-1, 1, 1, 1)}
    pairs = by_name(compare(comfyui, reference=REFERENCE[:1].repeat(4, 1, 1, 1), paired=True, latents=returned,
                            reference_latents=LATENTS)[0])
    assert all(f"{said}(3 of reference are copies)" in pairs[name].note for name in ("PSNR in dB", "latent error"))


def test_without_an_encoder_looks_alone_are_measured(comfyui):
    table = compare(comfyui)[0]
    assert list(by_name(table)) == ["sharpness", "brightness"] and table.settings["encoder"] is None


@pytest.mark.parametrize("kind", ["clip", "dinov2", "dreamsim"])
def test_encoders_of_the_pack(comfyui, loaded, kind):
    table = compare(comfyui, image_encoder=loaded[kind])[0]
    features = [encoders.embed_images(loaded[kind].encoder, rows) for rows in (IMAGES, REFERENCE)]
    assert by_name(table)["CMMD"].value == pytest.approx(metrics.clip_discrepancy(*features).value)
    assert table.settings["encoder"] == kind


def test_a_prompt_is_compared_with_both_sets(comfyui, loaded):
    table = compare(comfyui, image_encoder=loaded["clip"], prompt=" a c ")[0]
    text = encoders.embed_texts(loaded["clip"].encoder, ["a c"])
    for subject, pictures in (("average", IMAGES), ("reference", REFERENCE)):
        cosines = encoders.embed_images(loaded["clip"].encoder, pictures) @ text.T
        assert by_name(table, subject)["CLIP-T"].value == pytest.approx(cosines.mean().item(), abs=1e-6)


def test_ensembles_are_measured_within_and_between(comfyui):
    found = by_name(compare(comfyui, clip_vision=ClipVision(), ensemble_size=2)[0])
    sums = metrics.EnsembleSums()
    sums.update(embedded(IMAGES), [0, 0, 1, 1])
    assert found["consistency"].value == pytest.approx(metrics.consistency_between(sums).value)
    assert found["consistency within"].value == pytest.approx(metrics.consistency_within(sums).value)


def test_intervals_are_over_ensembles(comfyui, loaded):
    both = dict(image_encoder=loaded["clip"], prompt="a c", paired=True, latents={"samples": 1.1 * LATENTS["samples"]},
                reference_latents=LATENTS, reference=REFERENCE[:4])
    single, several = (by_name(compare(comfyui, ensemble_size=size, **both)[0]) for size in (1, 2))
    for name in ("sharpness", "brightness", "representativeness", "distance to the mean", "CLIP-T", "PSNR in dB",
                 "latent error"):
        assert several[name].value == pytest.approx(single[name].value, rel=1e-6), name
        assert several[name].note == single[name].note.replace("pictures", "ensembles") != single[name].note, name
        if name != "latent error":  # whose numbers are all alike
            assert (several[name].low, several[name].high) != (single[name].low, single[name].high), name


def test_a_clip_vision_is_known_by_its_weights(comfyui):
    names = []
    for change in (0.0, 0.0, 0.1):
        vision = random_clip_vision("clip_vision")
        with torch.inference_mode():
            for parameter in vision.model.parameters():
                parameter.add_(change)
        names.append(compare(comfyui, clip_vision=vision)[0].settings["encoder"])
    assert names[0] == names[1] != names[2] and all(len(name.split(" ")[1]) == 8 for name in names)


def test_pictures_and_references_are_known_by_their_numbers(comfyui):
    keys = [compare(comfyui, *sets)[0].settings for sets in ((IMAGES, REFERENCE), (IMAGES, REFERENCE[1:]))]
    assert keys[0]["images_key"] == keys[1]["images_key"] == metrics.pictures_key(IMAGES)
    assert keys[0]["reference_key"] != keys[1]["reference_key"] == metrics.pictures_key(REFERENCE[1:])


def test_a_round_trip_has_its_errors(comfyui):
    other = {"samples": 1.1 * LATENTS["samples"]}
    found = by_name(compare(comfyui, IMAGES, (IMAGES + 0.01).clamp(0, 1), paired=True, latents=other,
                            reference_latents=LATENTS)[0])
    assert found["PSNR in dB"].value == pytest.approx(40, abs=0.5)
    assert found["latent error"].value == pytest.approx(0.1, rel=1e-4)


def test_pictures_of_the_reference_are_not_compared_with_themselves(comfyui):
    found = by_name(compare(comfyui, REFERENCE[[3]], clip_vision=ClipVision())[0])["representativeness"]
    features, rest = embedded(REFERENCE[[3]]), embedded(REFERENCE[[n for n in range(12) if n != 3]])
    assert found.value == pytest.approx(1 - (features @ rest.T).mean().item(), abs=1e-6)


def test_a_single_picture_is_measured_as_far_as_one_can_be(comfyui):
    table = compare(comfyui, IMAGES[:1], clip_vision=ClipVision())[0]
    assert by_name(table)["representativeness"].value > 0 and by_name(table)["consistency"].value is None


NAN = torch.full((2, 16, 16, 3), math.nan)


@pytest.mark.parametrize("change, complaint", [
    (dict(reference=REFERENCE[:1]), "reference holds one picture"),
    (dict(images=IMAGES[:0]), "images is an empty batch"),
    (dict(images=NAN), "images contain"), (dict(reference=NAN), "reference contain"),
    (dict(ensemble_size=3), "4 pictures cannot be divided into ensembles of 3. Set ensemble_size"),
    (dict(paired=True), "4 of 16 x 16, and reference 12 of 16 x 16"),
    (dict(paired=True, reference=torch.rand(4, 16, 8, 3)), "4 of 16 x 16, and reference 4 of 8 x 16"),
    (dict(name=" reference"), "choose another"), (dict(prompt="a cat"), "ComfyUI's CLIP Vision reads no text"),
    (dict(image_encoder=object()), "both connected"), (dict(ensemble_size=0), "ensemble_size is 0"),
    (dict(latents=LATENTS), "one is not connected"), (dict(reference_latents=LATENTS), "one is not connected"),
    (dict(latents=LATENTS, reference_latents={"samples": torch.zeros(2, 4, 8, 8)}), "do not fit. A round trip ends"),
    (dict(latents=LATENTS, reference_latents={"samples": torch.zeros(4, 4, 8, 8)}), "do not fit. Some of the expected"),
    (dict(ensemble_size=2, latents={"samples": torch.ones(3, 4, 8, 8)}, reference_latents={
        "samples": torch.ones(3, 4, 8, 8)}), "3 pictures cannot be divided into ensembles of 2. .*pictures of latents"),
    (dict(subset_size=-1), "subset_size is -1"),
    (dict(subset_size=1), "subset_size is 1")])
def test_bad_inputs_are_refused_before_pictures_are_read(comfyui, change, complaint):
    with pytest.raises(ValueError, match=complaint):
        compare(comfyui, **{**dict(clip_vision=Untouched()), **change})


@pytest.mark.parametrize("kind", ["dinov2", "blip"])
def test_an_encoder_that_reads_no_prompts_is_refused(comfyui, loaded, kind):
    with pytest.raises(ValueError, match=f"{kind} is a {kind} model, which does not compare pictures with a prompt"):
        compare(comfyui, image_encoder=loaded[kind], prompt="a cat")


def test_an_encoder_that_sees_no_difference_is_refused(comfyui):
    class Blind:
        def encode_image(self, pictures):
            return {"image_embeds": torch.ones(len(pictures), 4)}

    with pytest.raises(ValueError, match="All 16 features of pictures are the same: .* Look at the pictures"):
        compare(comfyui, clip_vision=Blind())


@pytest.mark.parametrize("change", [dict(images=255 * IMAGES), dict(reference=2 * REFERENCE - 1),
                                    dict(images=255 * IMAGES, reference=255 * IMAGES, paired=True)])
def test_pictures_of_another_range_are_refused_before_an_encoder_is_asked(comfyui, change):
    """Encoders and the PSNR would cut them at 0 and 1, and sharpness grows with their size."""
    first = next(iter(change))
    with pytest.raises(ValueError, match=f"The pictures of {first} have values from 0 to 1 .* but these go from"):
        compare(comfyui, **change, clip_vision=Untouched())


def test_what_resampling_leaves_of_the_range_is_measured(comfyui):
    assert by_name(compare(comfyui, 1.6 * IMAGES - 0.3)[0])["sharpness"].value > 0
