"""Scores of attribute prompts by a CLIP or SigLIP."""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from ..choices import check_choice
from ..execution import BatchSize, Watcher
from ._attributes import AttributeEmbeddings
from ._embed import COMPARES_PROMPTS, embed_images, embed_texts
from ._encoder import ImageEncoder, check_texts

SCORES = ("softmax", "cosine")


def check_prompts(encoder: ImageEncoder, prompts: list[str]) -> None:
    """Raise ValueError unless there are two or more different prompts that the encoder can read."""
    if encoder.kind not in COMPARES_PROMPTS:
        raise ValueError(f"{encoder.name} is a {encoder.kind} model, which does not compare pictures with prompts: "
                         "load a CLIP or SigLIP folder, or ask a question of a BLIP-VQA.")
    if len(prompts) < 2 or not all(prompt.strip() for prompt in prompts):
        raise ValueError("Attribute prompts need at least two lines with text, such as 'light skin' and 'dark skin'.")
    if len(set(prompts)) < len(prompts):
        raise ValueError(f"The prompt {Counter(prompts).most_common(1)[0][0]!r} is there twice: each may be given "
                         "once.")
    check_texts(encoder, prompts)


def prompt_scores(encoder: ImageEncoder, images: Tensor, prompts: list[str], *, score: str = "softmax",
                  batch: BatchSize | None = None,
                  watchers: Sequence[Watcher] = ()) -> AttributeEmbeddings:
    """Scores (N, P) of P attribute prompts for pictures (N, H, W, 3) in [0, 1], by a CLIP or SigLIP.

    With unit-length embeddings u of a picture and v_p of a prompt: cosine is u . v_p; softmax is the softmax over p of
    s u . v_p, where s is the encoder's own learned scale. The answer of a picture is its best prompt.

    `batch` and `watchers` are those of `embed_images`. Raises ValueError for fewer than two prompts, prompts given
    twice, an unknown score, or an encoder without text.
    """
    check_prompts(encoder, prompts)
    check_choice(score, SCORES, "score")
    texts = embed_texts(encoder, prompts)  # (P, D)
    values = embed_images(encoder, images, batch=batch, watchers=watchers) @ texts.T  # (N, P)
    if score == "softmax":
        values = F.softmax(values * encoder.network.logit_scale.float().exp().cpu(), dim=1)
    answers = tuple(prompts[index] for index in values.argmax(1).tolist())
    settings = {"method": "prompts", "encoder": encoder.name, "prompts": prompts, "score": score}
    return AttributeEmbeddings(values, answers, settings)
