"""Every node that asks a model, by name, with short arguments on a small MODEL and inside inference mode, as ComfyUI
runs it."""
import torch
from alignments import align
from inversions import invert, sample

LATENT = {"samples": torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(6))}


def _hspace(model):
    from mental_averages.nodes.hspace import HSpaceHook

    return HSpaceHook.execute(model, "auto", "none").args[0]


def _capture(model, prompts):
    from mental_averages.nodes.hspace import CaptureHSpace

    return CaptureHSpace.execute(_hspace(model), prompts[0], LATENT, 0.5, 0).args[0].values


def _represent(model, prompts):
    from mental_averages.nodes.representation import ChannelMeans

    return ChannelMeans.execute(model, prompts[0], LATENT, "0.5", 2, "auto", "mean", 0, resume=False).args[0].means


def _sparsity(model, prompts):
    from mental_averages.nodes.representation import Sparsity

    return Sparsity.execute(model, prompts[0], LATENT, "0.5", 2, 0, resume=False).args[0]


def _memorisation(model, prompts):
    from mental_averages.nodes.representation import MemorisationScore

    # Of two different latents one is flagged at most at this rate.
    return MemorisationScore.execute(model, prompts[0], LATENT, LATENT, "deviation", 0.5, "", "0.9", "maximum", 1, 0,
                                     resume=False).args[0]


def _reconstruct(model, prompts):
    from mental_averages.nodes.representation import ChannelMeans, ReconstructFromRepresentation

    found = ChannelMeans.execute(model, prompts[0], LATENT, "0.3, 0.7", 2, "auto", "mean", 0, resume=False).args[0]
    return ReconstructFromRepresentation.execute(model, prompts[0], found, 2, 2, 0.02, 0,
                                                 resume=False).args[0]["samples"]


def _probe(model, prompts, **change):
    from mental_averages.nodes.hspace import SemanticLayerProbe

    return SemanticLayerProbe.execute(model, dict(zip("ab", prompts)), prompts[1], LATENT, 4, "0", 4, 2.0, "normal", 0,
                                      "none", layers="middle_block", cached=False, **change).args


def _mixture(model, prompts, aligned_steps=1):
    from mental_averages.nodes.alignment import AlignMixtureModes

    return AlignMixtureModes.execute(_hspace(model), *prompts, LATENT, 4, {"components": "fixed", "modes": 1}, 4,
                                     aligned_steps, 2.0, "normal", 0, "draft", 0.25, minimum_size=1, resume=False).args


def _zero(model, prompts):
    from mental_averages.nodes.baselines import ZeroLatent

    return ZeroLatent.execute(model, *prompts, LATENT, 4, 2.0, "normal", 0.5, 0).args[0]["samples"]


def _d4m(model, prompts):
    from mental_averages.nodes.baselines import D4MPrototype

    return D4MPrototype.execute(model, *prompts, LATENT, 0.7, 4, 2.0, "normal", 0).args[0]["samples"]


def _mgd3(model, prompts):
    from mental_averages.nodes.baselines import MGD3Prototype

    return MGD3Prototype.execute(model, *prompts, LATENT, 0.1, 4, 2.0, "normal", 0).args[0]["samples"]


def _lora(model, prompts):
    from mental_averages.nodes.training import TrainModeLoRA

    return TrainModeLoRA.execute(model, LATENT, prompts[0], 2, 1e-3, 1, 0, preview_interval=0, resume=False).args


PREDICTING = {
    "DDIMInvert": lambda model, prompts: invert(model, prompts, LATENT, steps=3)[0]["samples"],
    "DDIMSample": lambda model, prompts: sample(model, prompts, LATENT, cfg=2.0, steps=3)["samples"],
    "ZeroLatent": _zero,
    "D4MPrototype": _d4m,
    "MGD3Prototype": _mgd3,
}
DIFFERENTIATING = {
    "AlignTrajectories": align,
    "AlignMixtureModes": _mixture,
    "DDIMInvert by null_text": lambda model, prompts: invert(model, prompts, LATENT, "null_text", 3.0, steps=3),
    "SemanticLayerProbe": _probe,
    "TrainModeLoRA": _lora,
    "ReconstructFromRepresentation": _reconstruct,
}
READING = {"CaptureHSpace": _capture, "ChannelMeans": _represent, "Sparsity": _sparsity,
           "MemorisationScore": _memorisation,
           "AlignTrajectories without aligned steps":
           lambda model, prompts: align(model, prompts, aligned_steps=0),
           "AlignMixtureModes without aligned steps":
           lambda model, prompts: _mixture(model, prompts, aligned_steps=0),
           "SemanticLayerProbe without matching": lambda model, prompts: _probe(model, prompts, matched=0)}
EVERY = {**PREDICTING, **DIFFERENTIATING, **READING}


def run(name, model, prompts):
    with torch.inference_mode():
        return EVERY[name](model, prompts)
