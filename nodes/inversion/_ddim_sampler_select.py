"""DDIMSamplerSelect: deterministic inversion and sampling as a SAMPLER."""
from __future__ import annotations

from comfy_api.latest import io

from ..comfyui import DeterministicSampler
from ..inputs import checked, method_of, solver_options


class DDIMSamplerSelect(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DDIMSamplerSelect", display_name="DDIM Sampler (Both Directions)", category="dma/inversion",
            description="A sampler for SamplerCustomAdvanced that inverts along rising sigmas and samples along "
                        "falling ones.",
            search_aliases=["unsampler", "inversion sampler", "FlipSigmas", "custom sampler"],
            inputs=[io.DynamicCombo.Input("method", options=solver_options(),
                                          tooltip="How a step up is found, and for midpoint and fireflow a step down "
                                                  "as well.")],
            outputs=[io.Sampler.Output("sampler", display_name="sampler",
                                       tooltip="For SamplerCustomAdvanced, with DisableNoise, and FlipSigmas for the "
                                               "inversion.")],
        )

    @classmethod
    @checked()
    def execute(cls, method) -> io.NodeOutput:
        solver = method_of(method)
        return io.NodeOutput(DeterministicSampler(solver))
