import pytest
import torch

from mental_averages.dma import encoders
from mental_averages.dma.encoders import pixel_values
from mental_averages.dma.execution import BatchSize

QUESTION = "what is the skin tone?"


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


def test_states_are_those_of_the_library(blip, images):
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
        found = encoders.question_states(blip, images, QUESTION, state=state, batch=BatchSize(2))
        assert found.values.shape == (5, 16) and found.settings["state"] == state
        torch.testing.assert_close(found.values, values, rtol=1e-4, atol=1e-4)


def test_the_question_and_the_picture_both_matter(blip, images):
    for state in encoders.STATES:
        first = encoders.question_states(blip, images, QUESTION, state=state).values
        other = encoders.question_states(blip, images, "is the skin dark?", state=state).values
        assert (first - other).abs().max() > 1e-3
        assert (first[0] - first[1]).abs().max() > 1e-4


def test_what_an_encoder_cannot_do_is_said_before_work_starts(clip, blip):
    nothing = torch.zeros(0, 8, 8, 3)  # would be refused only once work starts
    with pytest.raises(ValueError, match="question has no text"):
        encoders.question_states(blip, nothing, "  ")
    with pytest.raises(ValueError, match="does not answer questions"):
        encoders.question_states(clip, nothing, QUESTION)
    with pytest.raises(ValueError, match="no state 'middle'"):
        encoders.question_states(blip, nothing, QUESTION, state="middle")
