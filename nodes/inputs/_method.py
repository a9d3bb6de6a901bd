"""The input that chooses a method of inversion."""
from __future__ import annotations

from comfy_api.latest import io

from ...dma.inversion import Bdia, Ddim, DpmEncoder, FireFlow, FixedPoint, Method, Midpoint, RFInversion


def solver_options() -> list[io.DynamicCombo.Option]:
    """The methods whose way back needs nothing but the latents."""
    return [
        io.DynamicCombo.Option("ddim", [
            io.Combo.Input("told", options=["target", "source"], default="target",
                           tooltip="Which noise level the network is told on a step up: that of the target, as "
                                   "diffusers and the code of null-text inversion do, or that of the source, an "
                                   "ordinary Euler step."),
        ]),
        io.DynamicCombo.Option("fixed_point", [
            io.Float.Input("tolerance", default=1e-5, min=0.0, max=1.0, step=1e-6, round=False,
                           tooltip="A step is solved when a step back misses the old latent by less than this, "
                                   "relative to its norm."),
            io.Int.Input("iterations", default=20, min=0, max=1000,
                         tooltip="Most corrections per step. The report says how many were used."),
            io.Int.Input("history", default=3, min=0, max=10,
                         tooltip="Earlier corrections that Anderson acceleration mixes. 0 is the plain iteration."),
        ]),
        io.DynamicCombo.Option("midpoint", []),
        io.DynamicCombo.Option("fireflow", []),
    ]


def method_of(choice: dict) -> Method:
    """The library's method for the value of a method input; the pivot's, for null_text."""
    chosen = choice["method"]
    if chosen == "ddim":
        return Ddim(choice["told"])
    if chosen == "fixed_point":
        return FixedPoint(choice["tolerance"], choice["iterations"], choice["history"])
    if chosen == "exact":
        return Bdia(choice["gamma"])
    if chosen == "rf_inversion":
        return RFInversion(choice["gamma"], choice["eta"], choice["controlled"], choice["seed"])
    if chosen == "dpm_encoder":
        return DpmEncoder(choice["eta"], choice["seed"])
    return {"midpoint": Midpoint, "fireflow": FireFlow}.get(chosen, Ddim)()
