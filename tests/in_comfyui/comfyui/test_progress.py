"""ComfyUI's progress bar; previews where they are seen, and on the device where TAESD is."""
import types

import pytest
import torch
from alignments import run_align
from embeddings import train
from single_precision_device import DEVICE, pretended

from mental_averages.dma.execution import Progress


class Previewer:
    """Like TAESD on a device, and like TAEHV for videos: takes nothing from elsewhere, or of another form."""

    def __init__(self, frames):
        self.shape, self.seen = (1, 4, 1, 8, 8) if frames else (1, 4, 8, 8), 0

    def decode_latent_to_preview_image(self, form, latent):
        assert latent.device == DEVICE and latent.shape == self.shape
        self.seen += 1


@pytest.mark.parametrize("frames", [False, True])
def test_the_preview_of_a_node_is_moved_to_the_previewer(comfyui, monkeypatch, frames):
    import latent_preview

    from mental_averages.nodes.comfyui import ProgressReporter

    previewer = Previewer(frames)
    monkeypatch.setattr(latent_preview, "get_previewer", lambda device, latent_format: previewer)
    latent_format = types.SimpleNamespace(latent_dimensions=3 if frames else 2)
    model = types.SimpleNamespace(load_device=DEVICE, model=types.SimpleNamespace(latent_format=latent_format))
    with pretended():
        reporter = ProgressReporter(model, "a node")
        reporter(Progress(0.5, "half", torch.zeros(1, 4, 8, 8)))
        reporter(Progress(1.0, "done", torch.zeros(1, 4, 8, 8).to(DEVICE)))
    assert previewer.seen == 2


def test_the_preview_of_the_sampler_is_moved_too(comfyui):
    """Core's callback hands it to the previewer as it is."""
    from mental_averages.nodes.comfyui._sampler import _Callback

    told = []
    with pretended():
        reporter = _Callback(lambda step, clean, x, steps: told.append((step, clean.device, x.device)), 4,
                             types.SimpleNamespace(device=DEVICE, single_frame=False))
        reporter(Progress(0.5, "half", torch.zeros(1, 4, 8, 8)))
        reporter.finish(torch.zeros(1, 4, 8, 8))
    assert told == [(1, DEVICE, DEVICE), (3, DEVICE, DEVICE)]


def test_latents_of_gpu_only_wait_on_the_cpu(small):
    """--gpu-only leaves clean latents on the GPU, while all noise is drawn on the CPU."""
    from every_node import EVERY, LATENT, _hspace

    from mental_averages.nodes.alignment import AlignMixtureModes

    model, prompts = small
    for node in ("CaptureHSpace", "DDIMInvert", "DDIMSample", "DDIMInvert by null_text", "TrainModeLoRA"):
        with pretended(), torch.inference_mode():
            kept = LATENT["samples"]
            try:
                LATENT["samples"] = kept.to(DEVICE)
                EVERY[node](model, prompts)
            finally:
                LATENT["samples"] = kept
    with pretended(), torch.inference_mode():
        samples = {"samples": LATENT["samples"].to(DEVICE)}
        AlignMixtureModes.execute(_hspace(model), *prompts, samples, 4, {"components": "fixed", "modes": 1}, 4, 1, 2.0,
                                  "normal", 0, "draft", 0.25, samples=samples, minimum_size=1, resume=False)


class BlindPreviewer:
    def decode_latent_to_preview_image(self, kind, latent):
        return None


@pytest.mark.parametrize("seen", [False, True])
def test_predictions_are_made_for_previews_that_are_seen(hspace, prompts, empty_latent, case, monkeypatch, seen):
    """ComfyUI shows none unless it is told to, and there are models without a previewer."""
    import latent_preview

    from mental_averages.dma import alignment, diffusion
    from mental_averages.nodes.comfyui import ProgressReporter

    monkeypatch.setattr(latent_preview, "get_previewer", lambda *_: BlindPreviewer() if seen else None)
    assert ProgressReporter(hspace.model, "title").shows_previews == seen
    asked, monitor, draw, drawn = [], alignment.Monitor, diffusion.draw_samples, []

    def watched(*arguments, denoiser=None, **options):
        asked.append(denoiser is not None)
        return monitor(*arguments, denoiser=denoiser, **options)

    monkeypatch.setattr(alignment, "Monitor", watched)
    run_align(hspace, prompts, empty_latent)
    assert asked == [seen]
    monkeypatch.setattr(diffusion, "draw_samples", lambda *given, **options: drawn.append(1) or draw(*given, **options))
    train(case("SD1.5"), preview_interval=2, resume=False)
    assert len(drawn) == (2 if seen else 0)
