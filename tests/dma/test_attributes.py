import json

import pytest
import torch
import torch.nn.functional as F
from test_image_encoders import write_blip, write_clip

from mental_averages.dma import encoders
from mental_averages.dma.encoders import _embed, embed_images, embed_texts, load_encoder, pixel_values

QUESTION = "what is the skin tone?"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return load_encoder(write_clip(tmp_path_factory.mktemp("attributes") / "clip"))


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    return load_encoder(write_blip(tmp_path_factory.mktemp("attributes") / "blip"))


@pytest.fixture(scope="module")
def images():
    return torch.rand(5, 40, 32, 3, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def asked(blip, images):
    """Inputs of BlipForQuestionAnswering for one question."""
    tokens = blip.tokenizer([QUESTION] * len(images), return_tensors="pt")
    return dict(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"],
                pixel_values=pixel_values(blip, images))


def test_answers_are_those_of_the_library(blip, images):
    with torch.no_grad():
        words = blip.network.generate(**asked(blip, images), max_new_tokens=encoders.LONGEST_ANSWER, do_sample=False)
    expected = [text.strip() for text in blip.tokenizer.batch_decode(words[:, 1:], skip_special_tokens=True)]
    found = encoders.question_states(blip, images, QUESTION)
    assert list(found.answers) == expected and any(expected)


def test_states_are_those_of_the_library(blip, images, monkeypatch):
    monkeypatch.setattr(_embed, "FIRST_BATCH", 2)
    inputs, network = asked(blip, images), blip.network
    captured = {}
    hooks = [network.text_encoder.register_forward_hook(lambda module, arguments, output: captured.update(
        question=output[0]))]
    with torch.no_grad():
        words = network.generate(**inputs, max_new_tokens=encoders.LONGEST_ANSWER, do_sample=False)
        question = captured["question"]  # (N, T, D)
        decoded = network.text_decoder(input_ids=words[:, :-1], encoder_hidden_states=question,
                                       output_hidden_states=True)
    hooks[0].remove()
    answering = decoded.hidden_states[-1]  # (N, A, D)
    means = []
    for row, state in zip(words[:, 1:], answering):
        ends = torch.nonzero(row == network.config.text_config.sep_token_id).flatten()
        means.append(state[: int(ends[0]) + 1 if len(ends) else len(row)].mean(0))
    expected = {"answer_start": answering[:, 0], "answer_mean": torch.stack(means),
                "question_class_token": question[:, 0], "question_mean": question.mean(1)}
    assert set(expected) == set(encoders.STATES)
    for state, values in expected.items():
        found = encoders.question_states(blip, images, QUESTION, state)
        assert found.values.shape == (5, 16) and found.settings["state"] == state
        torch.testing.assert_close(found.values, values, rtol=1e-4, atol=1e-4)


def test_the_question_and_the_picture_both_matter(blip, images):
    for state in encoders.STATES:
        first = encoders.question_states(blip, images, QUESTION, state).values
        other = encoders.question_states(blip, images, "is the skin dark?", state).values
        assert (first - other).abs().max() > 1e-3
        assert (first[0] - first[1]).abs().max() > 1e-4


def test_answers_are_counted():
    found = encoders.AttributeEmbeddings(torch.zeros(4, 2), ("dark", "light", "dark", ""), {"method": "question"})
    assert found.counts() == [("dark", 2), ("", 1), ("light", 1)]
    lines = found.table().splitlines()
    assert lines[0].split() == ["2", "0.500", "(0.150-0.850)", "dark"] and lines[1].endswith("(no answer)")
    data = json.loads(found.to_json())
    assert data["counts"] == {"dark": 2, "": 1, "light": 1} and data["answers"] == ["dark", "light", "dark", ""]


def test_prompt_scores_are_the_formula(clip, images):
    prompts = ["dark", "light", "no"]
    cosine = encoders.prompt_scores(clip, images, prompts, "cosine")
    expected = embed_images(clip, images) @ embed_texts(clip, prompts).T
    torch.testing.assert_close(cosine.values, expected)
    softmax = encoders.prompt_scores(clip, images, prompts, "softmax")
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
    with pytest.raises(ValueError, match="question has no text"):
        encoders.question_states(blip, nothing, "  ")
    with pytest.raises(ValueError, match="does not answer questions"):
        encoders.question_states(clip, nothing, QUESTION)
    with pytest.raises(ValueError, match="does not compare pictures with prompts"):
        encoders.prompt_scores(blip, nothing, ["dark", "light"])
    with pytest.raises(ValueError, match="no state 'middle'"):
        encoders.question_states(blip, nothing, QUESTION, "middle")
    with pytest.raises(ValueError, match="no score 'dot'"):
        encoders.prompt_scores(clip, nothing, ["dark", "light"], "dot")
