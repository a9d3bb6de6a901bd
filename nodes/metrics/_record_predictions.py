"""RecordPredictions: a model whose samplings are recorded for HallucinationFlag."""
from __future__ import annotations

from comfy_api.latest import io

from ...dma import metrics
from .. import comfyui
from ..inputs import category, checked


class RecordPredictions(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RecordPredictions", display_name="Record Predictions", category=category(),
            description="Records how much a model's predictions still move in the last steps of every sampling, for "
                        "HallucinationFlag. The samples stay what they are, to the last bit.",
            search_aliases=["hallucination", "trajectory", "variance", "trace"],
            inputs=[
                io.Model.Input("model", tooltip="Any model that a KSampler takes. It is not changed: the output is a "
                                                "patched copy."),
                io.Int.Input("last_steps", default=2, min=metrics.FEWEST_STEPS, max=1000,
                             tooltip="How many of the last steps count: 2 of 20 where the sampler is deterministic "
                                     "(euler, ddim, dpmpp_2m), 8 where it adds noise (ancestral, sde). Samplings of "
                                     "fewer steps are not recorded."),
            ],
            outputs=[io.Model.Output("model", display_name="model",
                                     tooltip="The patched model, for a KSampler, SamplerCustomAdvanced or any node of "
                                             "this pack that samples to the end.")],
        )

    @classmethod
    @checked()
    def execute(cls, model, last_steps) -> io.NodeOutput:
        return io.NodeOutput(comfyui.recording_model(model, last_steps))
