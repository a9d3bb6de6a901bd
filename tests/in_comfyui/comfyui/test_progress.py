"""ComfyUI's progress bar, and previews where they are seen."""
import pytest
from alignments import run_align
from embeddings import train


class Previewer:
    def decode_latent_to_preview_image(self, kind, latent):
        return None


@pytest.mark.parametrize("seen", [False, True])
def test_predictions_are_made_for_previews_that_are_seen(hspace, prompts, empty_latent, case, monkeypatch, seen):
    """ComfyUI shows none unless it is told to, and there are models without a previewer."""
    import latent_preview

    from mental_averages.dma import alignment, diffusion
    from mental_averages.nodes.comfyui import ProgressReporter

    monkeypatch.setattr(latent_preview, "get_previewer", lambda *_: Previewer() if seen else None)
    assert ProgressReporter(hspace.model, "title").shows_previews == seen
    asked, monitor, sample, sampled = [], alignment.Monitor, diffusion.sample, []

    def watched(*arguments, denoiser=None, **options):
        asked.append(denoiser is not None)
        return monitor(*arguments, denoiser=denoiser, **options)

    monkeypatch.setattr(alignment, "Monitor", watched)
    run_align(hspace, prompts, empty_latent)
    assert asked == [seen]
    monkeypatch.setattr(diffusion, "sample", lambda *given, **options: sampled.append(1) or sample(*given, **options))
    train(case("SD1.5"), preview_interval=2, resume=False)
    assert len(sampled) == (2 if seen else 0)
