"""ComfyUI's progress bar; previews where they are seen, and on the device where TAESD is."""
import types

import pytest
import torch
from alignments import run_align
from bars import Bar
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


def test_time_left_that_may_be_less_is_said_to_be_the_most(comfyui, monkeypatch):
    import latent_preview

    from mental_averages.nodes.comfyui import ProgressReporter

    monkeypatch.setattr(latent_preview, "get_previewer", lambda device, latent_format: None)
    latent_format = types.SimpleNamespace(latent_dimensions=2)
    model = types.SimpleNamespace(load_device=DEVICE, model=types.SimpleNamespace(latent_format=latent_format))
    reporter = ProgressReporter(model, "a node")
    assert reporter.time_left(Progress(0.5, "half", seconds_left=90.0), 0.0) == "about 90 s left"
    most = Progress(0.5, "half", seconds_left=300.0, at_most=True)
    assert reporter.time_left(most, 0.0) == "at most about 5 min left"
    reporter.first_fraction, reporter.started = 0.25, 100.0
    assert reporter.time_left(Progress(0.5, "half"), 150.0) == "about 100 s left", "by the share that is done"
    assert reporter.time_left(Progress(0.5, "half", at_most=True), 150.0) == "at most about 100 s left"


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


def _reconstruct(small):
    from mental_averages.nodes.representation import ChannelMeans, ReconstructFromRepresentation

    model, (prompt, _) = small
    found = ChannelMeans.execute(model, prompt, {"samples": torch.ones(1, 4, 8, 8)}, "0.3", 1, "auto", "mean", 0,
                                 resume=False).args[0]
    ReconstructFromRepresentation.execute(model, prompt, found, 2, 5, 0.02, 0, share=0.0, resume=False)


def _probe(small):
    from every_node import EVERY

    EVERY["SemanticLayerProbe"](*small)


def _invert(method):
    from inversions import METHODS, invert, pictures

    chosen = {"method": method, **METHODS[method], "iterations": 5}
    if method == "fixed_point":
        chosen["tolerance"] = 0.0
    return lambda small: invert(*small, pictures(), method=chosen, cfg=3.0 if method == "null_text" else 1.0, steps=2,
                                measure=False)


def _warp(small):
    from mental_averages.nodes.baselines import AlignedMean

    pictures = torch.rand(3, 16, 16, 3, generator=torch.Generator().manual_seed(0))
    AlignedMean.execute(pictures, 1, 0, resume=False)


def _cluster(small):
    from clusterings import THREE, clusters_of

    from mental_averages.dma.encoders import AttributeEmbeddings

    pictures = torch.rand(12, 8, 8, 3, generator=torch.Generator().manual_seed(0))
    clusters_of(pictures, THREE, embeddings=AttributeEmbeddings(pictures.flatten(1), ("",) * 12, {}))


# By node, the places that its bar has where it tells of nothing within a batch, and the iterations there.
WITHIN_A_BATCH = {
    "ReconstructFromRepresentation": (_reconstruct, 2, 5), "SemanticLayerProbe": (_probe, 4, 2 * 6),
    "DDIMInvert by fixed_point": (_invert("fixed_point"), 2, 2 * 5),
    "DDIMInvert by null_text": (_invert("null_text"), 4, 2 * 5), "AlignedMean": (_warp, 8, 20),
    "CLIPGMMClusters": (_cluster, 1, 10),
}


@pytest.mark.parametrize("node", WITHIN_A_BATCH)
def test_the_bar_moves_with_every_iteration_within_a_batch_and_each_hears_an_interrupt(small, folders, monkeypatch,
                                                                                       node):
    import comfy.model_management

    run, told, iterations = WITHIN_A_BATCH[node]
    bar = Bar(monkeypatch)
    with torch.inference_mode():
        run(small)
        assert len(set(bar.shares)) >= told + iterations
        bar.stop_at = len(bar.shares) + told + iterations // 2
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            run(small)
    assert len(bar.shares) == bar.stop_at


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
