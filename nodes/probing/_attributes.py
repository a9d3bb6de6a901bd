"""What is looked for in the samples of a sheet."""
from __future__ import annotations

from typing import Any

from torch import Tensor

from ...dma import encoders
from ..comfyui import reading_pictures
from ..inputs import filled_lines

NONE, PROMPTS, QUESTION = "none", "prompts", "question"
WHAT = (NONE, PROMPTS, QUESTION)


def check_attributes(what: str, text: str, image_encoder: Any) -> None:
    """Raise ValueError, in terms of the inputs of ConceptSheet, unless the encoder can look for this."""
    if what == NONE:
        return
    if image_encoder is None:
        needed = "prompts take a CLIP or SigLIP" if what == PROMPTS else "a question take a BLIP-VQA"
        raise ValueError(f"Attributes by {needed} from LoadImageEncoder: connect one to image_encoder, or choose "
                         "attributes none.")
    if what == PROMPTS:
        encoders.check_prompts(image_encoder.encoder, filled_lines(text))
    else:
        encoders.check_question(image_encoder.encoder, text)


def seen_in(what: str, text: str, image_encoder: Any, images: Tensor) -> tuple[str, ...]:
    """The answer of each picture (N, H, W, 3), or its best prompt; nothing where nothing is looked for."""
    if what == PROMPTS:
        return encoders.prompt_scores(image_encoder.on_device(), images, filled_lines(text),
                                      watchers=reading_pictures()).answers
    if what == QUESTION:
        return encoders.question_states(image_encoder.on_device(), images, text, watchers=reading_pictures()).answers
    return ()
