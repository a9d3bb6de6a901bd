"""What is looked for in samples, and by what."""
import pytest
import torch
from encoder_folders import write_blip, write_dinov2
from loaded_encoders import encoders_in, loaded_encoder


@pytest.fixture(scope="module")
def loaded(comfyui, tmp_path_factory):
    folder = tmp_path_factory.mktemp("more")
    write_blip(folder / "blip")
    write_dinov2(folder / "dinov2")
    with encoders_in(folder):
        return {name: loaded_encoder(name) for name in ("blip", "dinov2")}


def test_prompts_and_questions_are_those_of_attribute_embed(small_encoder, loaded):
    from mental_averages.nodes.inputs import filled_lines
    from mental_averages.nodes.modes import AttributeEmbed
    from mental_averages.nodes.probing._attributes import seen_in

    images = torch.rand(5, 48, 48, 3, generator=torch.Generator().manual_seed(0))
    by_prompts = AttributeEmbed.execute(images, small_encoder, {"method": "prompts", "prompts": "red\n\n blue",
                                                                "score": "softmax"}).args[0]
    assert seen_in("prompts", "red\n\n blue", small_encoder, images) == by_prompts.answers
    asked = AttributeEmbed.execute(images, loaded["blip"], {"method": "question", "question": "what?",
                                                            "state": "answer_mean"}).args[0]
    assert seen_in("question", "what?", loaded["blip"], images) == asked.answers
    assert seen_in("none", "", None, images) == ()
    assert filled_lines("red\n\n blue") == ["red", "blue"]


@pytest.mark.parametrize("what, text, encoder, message", [
    ("prompts", "a\nb", None, "Attributes by prompts take a CLIP or SigLIP from LoadImageEncoder"),
    ("question", "a?", None, "Attributes by a question take a BLIP-VQA from LoadImageEncoder"),
    ("prompts", "a\nb", "dinov2", "does not compare pictures with prompts"),
    ("prompts", "a\na", "clip", "'a' is there twice"), ("question", " ", "blip", "no text"),
    ("prompts", "a\n" + "b " * 20, "clip", "tokens, but clip reads at most 12: shorten it"),
    ("question", "is it " * 20, "blip", "tokens, but blip reads at most 12: shorten it")])
def test_what_cannot_be_looked_for(small_encoder, loaded, what, text, encoder, message):
    from mental_averages.nodes.probing._attributes import check_attributes

    given = None if encoder is None else {**loaded, "clip": small_encoder}[encoder]
    with pytest.raises(ValueError, match=message):
        check_attributes(what, text, given)


def test_nothing_is_looked_for_without_an_encoder(comfyui):
    from mental_averages.nodes.probing._attributes import check_attributes

    check_attributes("none", "", None)
