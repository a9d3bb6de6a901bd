"""CaptureHSpace, and MedoidSelect on its features."""
import pytest
import torch
from small_models import MODELS
from stopping import untouched


def test_capture_and_medoid(demo, hspace, prompts, folders):
    from mental_averages.dma.hspace import load_features
    from mental_averages.nodes.baselines import MedoidSelect
    from mental_averages.nodes.hspace import CaptureHSpace

    latents = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = CaptureHSpace.execute(hspace, prompts[0], {"samples": latents}, 0.5, 0, "captured/heart").args[0]
        again = CaptureHSpace.execute(hspace, prompts[0], {"samples": latents[2:3]}, 0.5, 0, "").args[0]
        image, index = MedoidSelect.execute(torch.rand(5, 8, 8, 3), features).args
    assert features.values.shape[:2] == (5, 320) and features.values.device.type == "cpu"
    torch.testing.assert_close(again.values[0], features.values[2], rtol=1e-3, atol=1e-3)
    assert image.shape == (1, 8, 8, 3) and 0 <= index < 5
    saved = load_features(folders / "output" / "captured" / "heart_00001_.safetensors")
    torch.testing.assert_close(saved.values, features.values, rtol=0, atol=0)


def test_samples_of_the_same_seed_are_not_noised_by_what_they_were_made_of(bridge, hspace, prompts):
    from mental_averages.dma.diffusion import starting_noise
    from mental_averages.dma.models import pooled
    from mental_averages.dma.representation import reading_noise
    from mental_averages.nodes.hspace import CaptureHSpace

    with torch.inference_mode():
        found = CaptureHSpace.execute(hspace, prompts[0], {"samples": torch.zeros(1, 4, 8, 8)}, 0.5, 5).args[0]

    def read(denoiser):
        return [pooled(denoiser.features(found.sigma * draw(1, (4, 8, 8), 5), found.sigma), found.pooling).cpu()
                for draw in (reading_noise, starting_noise)]

    own, start = bridge.with_denoiser(hspace.model, prompts[0], prompts[0], 1.0, torch.tensor([found.sigma, 0.0]),
                                      (4, 8, 8), 5, read, found.layer)
    torch.testing.assert_close(found.values.view_as(own), own, rtol=1e-3, atol=1e-3)
    assert (start - own).norm() > 0.1 * own.norm()


def test_what_is_saved_makes_it_an_output(hspace, prompts, folders):
    """Otherwise a graph that ends in it is refused as one without outputs."""
    from mental_averages.nodes.hspace import CaptureHSpace

    assert CaptureHSpace.GET_SCHEMA().is_output_node and CaptureHSpace.OUTPUT_NODE
    latent = {"samples": torch.ones(1, 4, 8, 8)}
    with torch.inference_mode():
        saved = CaptureHSpace.execute(hspace, prompts[0], latent, 0.5, 0, "captured/heart")
        plain = CaptureHSpace.execute(hspace, prompts[0], latent, 0.5, 0, "")
    assert saved.ui.as_dict()["text"] == ("Saved captured/heart_00001_.safetensors",) and plain.ui is None


def test_an_empty_latent_of_another_kind_of_model_is_made_to_fit(hspace, prompts):
    from mental_averages.nodes.hspace import CaptureHSpace

    def captured(channels):
        with torch.inference_mode():
            return CaptureHSpace.execute(hspace, prompts[0], {"samples": torch.zeros(2, channels, 8, 8)}, 0.5,
                                         0).args[0].values

    assert torch.equal(captured(16), captured(4))


def test_latents_that_are_not_finite_are_refused(hspace, prompts):
    from mental_averages.nodes.hspace import CaptureHSpace

    latent = {"samples": torch.zeros(2, 4, 8, 8)}
    latent["samples"][1, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="This latent contains NaN"):
        CaptureHSpace.execute(hspace, prompts[0], latent, 0.5, 0)


@pytest.mark.parametrize("save_as", ["../../x", "a" * 300, "taken/x"])
def test_a_name_that_cannot_be_written_is_refused_before_anything_is_read(demo, prompts, folders, save_as):
    from mental_averages.nodes.hspace import CaptureHSpace, HSpaceHook

    (folders / "output" / "taken").write_text("a file")
    hspace = HSpaceHook.execute(untouched(demo[0]), "auto", "none").args[0]
    with pytest.raises(ValueError, match="save_as is '.*', which is no place for files"):
        CaptureHSpace.execute(hspace, prompts[0], {"samples": torch.ones(2, 4, 8, 8)}, 0.5, 0, save_as)


def test_features_are_not_lost_with_their_file(hspace, prompts, folders, monkeypatch, caplog):
    import os

    from mental_averages.nodes.hspace import CaptureHSpace

    def refuse(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with torch.inference_mode():
        found = CaptureHSpace.execute(hspace, prompts[0], {"samples": torch.ones(2, 4, 8, 8)}, 0.5, 0, "heart")
    assert len(found.args[0].values) == 2 and not list((folders / "output").iterdir())
    assert "features go on without a file" in caplog.text and "No space left" in caplog.text
    assert found.ui.as_dict()["text"][0].startswith("Not saved: 'heart' cannot be written")


def test_latents_that_a_flow_sees_nothing_of_are_refused_before_anything_is_read(built):
    """At the start of a flow all rows would be the features of one and the same noise."""
    from mental_averages.nodes.hspace import CaptureHSpace, HSpaceHook

    def captured(name, latents, percent, model=None):
        hspace = HSpaceHook.execute(model or built(name), "auto", "none").args[0]
        with torch.inference_mode():
            return CaptureHSpace.execute(hspace, MODELS[name].conditioning(1), {"samples": latents}, percent,
                                         0).args[0].values

    flow = torch.randn(3, 16, 6, 4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="All 3 latents with their noise are the same: at percent 0 .* raise percent"):
        captured("SD3", flow, 0.0, untouched(built("SD3")))
    for values in (captured("SD3", flow, 0.01), captured("SD1.5", flow[:, :4], 0.0)):
        assert not torch.equal(values[0], values[1])
    assert len(captured("SD3", flow[:1], 0.0)) == 1
    assert len(captured("SD3", flow[:1].expand(2, -1, -1, -1), 0.0)) == 2, "these are the same anyway"
