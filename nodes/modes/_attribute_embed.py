"""AttributeEmbed: embeddings that look at one attribute."""
from __future__ import annotations

from comfy_api.latest import io

from ...dma import encoders
from ..comfyui import reading_pictures
from ..inputs import EMBEDDINGS, IMAGE_ENCODER, category, checked, filled_lines


class AttributeEmbed(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        states = " ".join(f"{name}: {meaning}." for name, meaning in encoders.STATES.items())
        question = io.DynamicCombo.Option("question", [
            io.String.Input("question", default="what is the skin tone?",
                            tooltip="Asked of each picture. Needs a BLIP-VQA encoder."),
            io.Combo.Input("state", options=list(encoders.STATES), default="answer_mean",
                           tooltip=f"Which hidden state is the embedding. {states}"),
        ])
        prompts = io.DynamicCombo.Option("prompts", [
            io.String.Input("prompts", multiline=True, default="light skin\ndark skin",
                            tooltip="One prompt per line, at least two. Needs a CLIP or SigLIP encoder."),
            io.Combo.Input("score", options=list(encoders.SCORES), default="softmax",
                           tooltip="softmax: the probability of each prompt, which adds up to 1. cosine: the plain "
                                   "similarity to each prompt."),
        ])
        return io.Schema(
            node_id="AttributeEmbed", display_name="Attribute Embed", category=category("modes"),
            description="Embeds pictures by one attribute, by asking a question of each or by scoring prompts, so that "
                        "clusters differ in that attribute.",
            search_aliases=["BLIP", "VQA", "question", "grounded", "attribute", "zero-shot"],
            inputs=[
                io.Image.Input("images", tooltip="The pictures."),
                IMAGE_ENCODER.Input("image_encoder",
                                    tooltip="From LoadImageEncoder: a BLIP-VQA for questions, a CLIP or SigLIP for "
                                            "prompts."),
                io.DynamicCombo.Input("method", options=[question, prompts],
                                      tooltip="question: ask a BLIP-VQA about each picture. prompts: compare each "
                                              "picture with prompts by a CLIP."),
            ],
            outputs=[
                EMBEDDINGS.Output("embeddings", display_name="embeddings",
                                  tooltip="One row per picture, for CLIPGMMClusters."),
                io.String.Output("counts", display_name="counts",
                                 tooltip="How many pictures got each answer (or had each prompt as their best), with "
                                         "the share and its 95 % interval."),
                io.String.Output("json", display_name="json",
                                 tooltip="The answer of every picture, the counts and the settings."),
            ],
        )

    @classmethod
    @checked()
    def execute(cls, images, image_encoder, method) -> io.NodeOutput:
        encoders.check_images(images)
        encoder = image_encoder.encoder
        if method["method"] == "question":
            encoders.check_question(encoder, method["question"])
            found = encoders.question_states(image_encoder.on_device(), images, method["question"],
                                             state=method["state"], watchers=reading_pictures())
        else:
            prompts = filled_lines(method["prompts"])
            encoders.check_prompts(encoder, prompts)
            found = encoders.prompt_scores(image_encoder.on_device(), images, prompts, score=method["score"],
                                           watchers=reading_pictures())
        return io.NodeOutput(found, found.table(), found.to_json())
