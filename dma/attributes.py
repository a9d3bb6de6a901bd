"""Embeddings of pictures that look at one attribute: states of a BLIP-VQA that answers a question, or scores of
prompts.

The grounded clusters of arXiv 2603.29239 use an "attribute-focused embedding" of BLIP-VQA. Which state that is has not
been published, so the candidates stand here under one name each.
"""
from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .image_encoders import ImageEncoder, embed_images, embed_texts, over_batches, pixel_values, tokenize
from .modes import wilson_interval

FORMAT = "mental-averages/attribute-embeddings"
VERSION = 1
STATES = {
    "answer_start": "the answer decoder's last hidden state where the first word of the answer is decided",
    "answer_mean": "the mean of the answer decoder's last hidden states over the words of the answer and its end",
    "question_class_token": "the question encoder's last hidden state at its first token, which has looked at the "
                            "picture",
    "question_mean": "the mean of the question encoder's last hidden states over the tokens of the question",
}
SCORES = ("softmax", "cosine")
LONGEST_ANSWER = 10


@dataclass(frozen=True, eq=False)
class AttributeEmbeddings:
    """One row for each of N pictures, the answer (or best prompt) of each, and how they were made."""

    values: Tensor  # (N, D), fp32 on the CPU
    answers: tuple[str, ...]
    settings: dict

    def counts(self) -> list[tuple[str, int]]:
        """The different answers with their number, most frequent first, then in alphabetical order."""
        return sorted(Counter(self.answers).items(), key=lambda item: (-item[1], item[0]))

    def table(self) -> str:
        """One line for each different answer: number, share of the pictures, its 95 % interval, answer."""
        lines = []
        for answer, count in self.counts():
            low, high = wilson_interval(count, len(self.answers))
            lines.append(f"{count:5d}  {count / len(self.answers):.3f} ({low:.3f}-{high:.3f})  "
                         f"{answer or '(no answer)'}")
        return "\n".join(lines)

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, "version": VERSION, "settings": self.settings,
                           "counts": dict(self.counts()), "answers": list(self.answers)}, indent=1, ensure_ascii=False)


def check_prompts(encoder: ImageEncoder, prompts: list[str]) -> None:
    """Raise ValueError unless there are two or more different prompts that the encoder can read."""
    if encoder.kind not in ("clip", "siglip"):
        raise ValueError(f"{encoder.name} is a {encoder.kind} model, which does not compare pictures with prompts: "
                         "load a CLIP or SigLIP folder, or ask a question of a BLIP-VQA.")
    if len(prompts) < 2 or not all(prompt.strip() for prompt in prompts):
        raise ValueError("Attribute prompts need at least two lines with text, such as 'light skin' and 'dark skin'.")
    if len(set(prompts)) < len(prompts):
        raise ValueError(f"The prompt {Counter(prompts).most_common(1)[0][0]!r} is there twice: each may be given "
                         "once.")


def prompt_scores(encoder: ImageEncoder, images: Tensor, prompts: list[str], score: str = "softmax",
                  after_batch: Callable[[float], None] | None = None) -> AttributeEmbeddings:
    """Scores (N, P) of P attribute prompts for pictures (N, H, W, 3) in [0, 1], by a CLIP or SigLIP.

    With unit-length embeddings u of a picture and v_p of a prompt: cosine is u . v_p; softmax is the softmax over p of
    s u . v_p, where s is the encoder's own learned scale. The answer of a picture is its best prompt.

    Raises ValueError for fewer than two prompts, prompts given twice, an unknown score, or an encoder without text.
    """
    check_prompts(encoder, prompts)
    if score not in SCORES:
        raise ValueError(f"There is no score {score!r}: choose one of {', '.join(SCORES)}.")
    texts = embed_texts(encoder, prompts)  # (P, D)
    values = embed_images(encoder, images, after_batch) @ texts.T  # (N, P)
    if score == "softmax":
        values = F.softmax(values * encoder.network.logit_scale.float().exp().cpu(), dim=1)
    answers = tuple(prompts[index] for index in values.argmax(1).tolist())
    settings = {"method": "prompts", "encoder": encoder.name, "prompts": prompts, "score": score}
    return AttributeEmbeddings(values, answers, settings)


def check_question(encoder: ImageEncoder, question: str) -> None:
    """Raise ValueError unless the question has text and the encoder answers questions."""
    if encoder.kind != "blip":
        raise ValueError(f"{encoder.name} is a {encoder.kind} model, which does not answer questions: load a BLIP-VQA "
                         "folder, or score prompts with a CLIP.")
    if not question.strip():
        raise ValueError("The question has no text: ask something about each picture, such as 'what is the skin "
                         "tone?'.")


def question_states(encoder: ImageEncoder, images: Tensor, question: str, state: str = "answer_mean",
                    after_batch: Callable[[float], None] | None = None) -> AttributeEmbeddings:
    """The hidden state (N, D) of a BLIP-VQA that was asked a question about pictures (N, H, W, 3) in [0, 1], with its
    answers.

    The vision network reads the picture, the question encoder reads the question with attention to the picture, and
    the answer decoder writes an answer with attention to the question encoder's states. `state` is a name in STATES.
    Answers are decoded greedily, up to 10 tokens.

    Raises ValueError for a question without text, an unknown state, or an encoder that answers no questions.
    """
    check_question(encoder, question)
    if state not in STATES:
        raise ValueError(f"There is no state {state!r}: choose one of {', '.join(STATES)}.")
    tokens = tokenize(encoder, [question.strip()], True)
    found = over_batches(images, lambda pictures: _answer(encoder, pixel_values(encoder, pictures), tokens, state),
                         after_batch)
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
