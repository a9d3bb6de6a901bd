import pytest
import torch
import torch.nn.functional as F

from mental_averages.dma import encoders
from mental_averages.dma.encoders import embed_images, embed_texts, pixel_values


def test_prompt_scores_are_the_formula(clip, images):
    prompts = ["dark", "light", "no"]
    cosine = encoders.prompt_scores(clip, images, prompts, score="cosine")
    expected = embed_images(clip, images) @ embed_texts(clip, prompts).T
    torch.testing.assert_close(cosine.values, expected)
    softmax = encoders.prompt_scores(clip, images, prompts, score="softmax")
    torch.testing.assert_close(softmax.values, F.softmax(clip.network.logit_scale.exp() * expected, dim=1))
    torch.testing.assert_close(softmax.values.sum(1), torch.ones(5))
    assert softmax.answers == cosine.answers == tuple(prompts[index] for index in expected.argmax(1))


def test_prompt_scores_are_the_librarys_logits(clip, images):
    prompts = ["dark", "no"]
    tokens = clip.tokenizer(prompts, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = clip.network(**tokens, pixel_values=pixel_values(clip, images)).logits_per_image
    torch.testing.assert_close(encoders.prompt_scores(clip, images, prompts).values, logits.softmax(1))


@pytest.mark.parametrize("prompts, message", [
    ([], "at least two lines"), (["dark"], "at least two lines"), (["dark", " "], "at least two lines"),
    (["dark", "light", "dark"], "'dark' is there twice"), (["a", "b c d e f g h i j k l m n"], "shorten it")])
def test_bad_prompts(clip, images, prompts, message):
    with pytest.raises(ValueError, match=message):
        encoders.prompt_scores(clip, images, prompts)


def test_what_an_encoder_cannot_do_is_said_before_work_starts(clip, blip):
    nothing = torch.zeros(0, 8, 8, 3)  # would be refused only once work starts
    with pytest.raises(ValueError, match="does not compare pictures with prompts"):
        encoders.prompt_scores(blip, nothing, ["dark", "light"])
    with pytest.raises(ValueError, match="no score 'dot'"):
        encoders.prompt_scores(clip, nothing, ["dark", "light"], score="dot")
