"""DDIMSamplerSelect: inversion and sampling back as a SAMPLER."""
from __future__ import annotations

from comfy_api.latest import io

from ..comfyui import DeterministicSampler
from ..inputs import TRAJECTORY, category, checked, method_of, solver_options


class DDIMSamplerSelect(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="DDIMSamplerSelect", display_name="DDIM Sampler (Both Directions)", category=category("inversion"),
            description="A sampler for SamplerCustomAdvanced that inverts along rising sigmas and samples along "
                        "falling ones.",
            search_aliases=["unsampler", "inversion sampler", "FlipSigmas", "custom sampler",
                            "CycleDiffusion"],
            inputs=[io.DynamicCombo.Input("method", options=solver_options(),
                                          tooltip="How a step up is found, and for midpoint and fireflow a step down "
                                                  "as well. Without effect when a trajectory is connected."),
                    TRAJECTORY.Input("trajectory", optional=True,
                                     tooltip="From DDIMInvert: along its falling sigmas the sampler takes its own way "
                                             "back, such as the codes of dpm_encoder, with the guider's prompt.")],
            outputs=[io.Sampler.Output("sampler", display_name="sampler",
                                       tooltip="For SamplerCustomAdvanced, with DisableNoise, and FlipSigmas for the "
                                               "inversion.")],
        )

    @classmethod
    @checked()
    def execute(cls, method, trajectory=None) -> io.NodeOutput:
        if trajectory is None:
            return io.NodeOutput(DeterministicSampler(method_of(method)))
        own = trajectory.trajectory
        if trajectory.negative is not None or own.method.name == "null_text":
            raise ValueError("The trajectory brings negative prompts of its own, for which a guider has no place: take "
                             "it back with DDIM Sample, or choose another method in DDIM Invert.")
        return io.NodeOutput(DeterministicSampler(method_of(method), own))
