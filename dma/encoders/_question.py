"""States of a BLIP-VQA that answers a question about each picture.

The grounded clusters of arXiv 2603.29239 use an "attribute-focused embedding" of BLIP-VQA. Which state that is has not
been published, so the candidates stand here under one name each."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..choices import check_choice
from ..execution import BatchSize, Watcher
from ._attributes import AttributeEmbeddings
from ._embed import over_batches
from ._encoder import ImageEncoder, check_texts, pixel_values, tokenize

STATES = {
    "answer_start": "the answer decoder's last hidden state where the first word of the answer is decided",
    "answer_mean": "the mean of the answer decoder's last hidden states over the words of the answer and its end",
    "question_class_token": "the question encoder's last hidden state at its first token, which has looked at the "
                            "picture",
    "question_mean": "the mean of the question encoder's last hidden states over the tokens of the question",
}
LONGEST_ANSWER = 10


def check_question(encoder: ImageEncoder, question: str) -> None:
    """Raise ValueError unless the question has text and the encoder answers questions."""
    if encoder.kind != "blip":
        raise ValueError(f"{encoder.name} is a {encoder.kind} model, which does not answer questions: load a BLIP-VQA "
                         "folder, or score prompts with a CLIP.")
    if not question.strip():
        raise ValueError("The question has no text: ask something about each picture, such as 'what is the skin "
                         "tone?'.")
    check_texts(encoder, [question.strip()])


def question_states(encoder: ImageEncoder, images: Tensor, question: str, *, state: str = "answer_mean",
                    batch: BatchSize | None = None,
                    watchers: Sequence[Watcher] = ()) -> AttributeEmbeddings:
    """The hidden state (N, D) of a BLIP-VQA that was asked a question about pictures (N, H, W, 3) in [0, 1], with its
    answers.

    The vision network reads the picture, the question encoder reads the question with attention to the picture, and
    the answer decoder writes an answer with attention to the question encoder's states. `state` is a name in STATES.
    Answers are decoded greedily, up to 10 tokens.

    `batch` and `watchers` are those of `embed_images`. Raises ValueError for a question without text, an unknown
    state, or an encoder that answers no questions.
    """
    check_question(encoder, question)
    check_choice(state, STATES, "state")
    tokens = tokenize(encoder, [question.strip()], True)
    found = over_batches(images, lambda pictures: _answer(encoder, pixel_values(encoder, pictures), tokens, state),
                         batch=batch, watchers=watchers)
    answers = tuple(answer for batch in found for answer in batch["answers"])
    return AttributeEmbeddings(torch.cat([batch["states"] for batch in found]), answers,
                               {"method": "question", "encoder": encoder.name, "question": question.strip(),
                                "state": state})


def _answer(encoder: ImageEncoder, pixels: Tensor, tokens: dict[str, Tensor], state: str) -> dict:
    """States (B, D) and answers of preprocessed pictures: the steps of BlipForQuestionAnswering.generate, with
    states."""
    network, batch = encoder.network, len(pixels)
    text = network.config.text_config
    picture = network.vision_model(pixel_values=pixels).last_hidden_state  # (B, patches + 1, width)
    asked = network.text_encoder(
        input_ids=tokens["input_ids"].expand(batch, -1), attention_mask=tokens["attention_mask"].expand(batch, -1),
        encoder_hidden_states=picture, encoder_attention_mask=picture.new_ones(picture.shape[:2], dtype=torch.long),
    ).last_hidden_state  # (B, T, D)
    decoded = network.text_decoder.generate(
        input_ids=torch.full((batch, 1), network.decoder_start_token_id, device=pixels.device),
        encoder_hidden_states=asked, encoder_attention_mask=asked.new_ones(asked.shape[:2], dtype=torch.long),
        eos_token_id=text.sep_token_id, pad_token_id=text.pad_token_id, max_new_tokens=LONGEST_ANSWER, do_sample=False,
        num_beams=1, return_dict_in_generate=True, output_hidden_states=True)
    words = decoded.sequences[:, 1:]  # (B, A), without the start token
    answers = [answer.strip() for answer in encoder.tokenizer.batch_decode(words, skip_special_tokens=True)]
    if state == "question_class_token":
        states = asked[:, 0]
    elif state == "question_mean":
        states = asked.mean(1)
    else:
        answering = torch.cat([step[-1] for step in decoded.hidden_states], dim=1)  # (B, A, D); state a decides word a
        if state == "answer_start":
            states = answering[:, 0]
        else:
            ended = (words == text.sep_token_id).cumsum(1)
            # (B, A, 1)
            written = ((ended == 0) | ((ended == 1) & (words == text.sep_token_id)))[..., None].to(answering.dtype)
            states = (answering * written).sum(1) / written.sum(1)
    return {"states": states.float().cpu(), "answers": answers}
