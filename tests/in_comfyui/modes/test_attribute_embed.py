"""AttributeEmbed, inside inference mode as ComfyUI runs it."""
import json
import sys

import pytest
import torch
from clusterings import PROMPTS, clusters_of, load

import pack

sys.path.insert(0, str(pack.ROOT / "tests" / "dma"))


def test_questions_are_answered_and_counted(encoders, images):
    from mental_averages.nodes.modes import AttributeEmbed

    method = {"method": "question", "question": "what is the skin tone?", "state": "question_class_token"}
    with torch.inference_mode():
        embeddings, counts, text = AttributeEmbed.execute(images[0], load("maker/blip"), method).args
    data = json.loads(text)
    assert (sum(data["counts"].values()) == len(data["answers"]) == 16
            and data["settings"]["state"] == "question_class_token")
    assert sum(int(line.split()[0]) for line in counts.splitlines()) == 16
    clusters = clusters_of(images[0], {"components": "bic", "smallest": 1, "largest": 5}, embeddings=embeddings)[0]
    assert len(clusters.bic) == 5 and clusters.coordinates.shape == (16, 4)


def test_attributes_name_what_is_wrong(encoders, images):
    from mental_averages.nodes.modes import AttributeEmbed

    clip, blip = load("clip"), load("maker/blip")
    for encoder, method, message in (
            (blip, {"method": "question", "question": " ", "state": "answer_start"}, "question has no text"),
            (clip, {"method": "question", "question": "what?", "state": "answer_start"}, "does not answer questions"),
            (blip, PROMPTS, "does not compare pictures with prompts"),
            (clip, {**PROMPTS, "prompts": "one"}, "at least two lines")):
        with pytest.raises(ValueError, match=message):
            AttributeEmbed.execute(images[0], encoder, method)
