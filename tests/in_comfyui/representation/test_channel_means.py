"""ChannelMeans on small models of ComfyUI's own classes: against features read one by one, whatever the batch."""
import pytest
import torch
from small_models import MODELS
from stopping import Calls, saved_states, untouched

PLACES = [("SD1.5", "auto", "mean"), ("SD1.5", "output_blocks.1", "2x2"), ("SD1.5", "input_blocks.1", "none"),
          ("SD3", "joint_blocks.0", "mean"), ("Flux", "single_blocks.0", "2x2"), ("Z-Image", "auto", "mean")]


def latents(name, count=3):
    small, channels = MODELS[name], {"SD1.5": 4}.get(name, 16)
    return {"samples": torch.randn(count, channels, *small.size, generator=torch.Generator().manual_seed(5))}


def means(model, name, batch=None, count=3, resume=False, **changes):
    from mental_averages.nodes.representation import ChannelMeans

    given = dict(model=model, positive=MODELS[name].conditioning(1), latents=batch or latents(name, count),
                 levels="0.3, 0.8", draws=3, layer="auto", pooling="mean", seed=4, batch_size=2, resume=resume,
                 **changes)
    with torch.inference_mode():
        return ChannelMeans.execute(**given).args[0]


@pytest.mark.parametrize("name, layer, pooling", PLACES)
def test_means_are_those_of_features_read_one_by_one(bridge, built, folders, name, layer, pooling):
    from mental_averages.dma.diffusion import add_noise
    from mental_averages.dma.models import pooled
    from mental_averages.dma.representation import reading_noise
    from mental_averages.nodes.representation import ChannelMeans

    model, batch = built(name), latents(name)
    with torch.inference_mode():
        found = ChannelMeans.execute(model, MODELS[name].conditioning(1), batch, "0.3, 0.8", 3, layer, pooling, 4, 2,
                                     False).args[0]
    sampling = model.get_model_object("model_sampling")
    sigmas = [float(sampling.percent_to_sigma(share)) for share in (0.3, 0.8)]
    clean, shape = bridge.latents_into_model(model, batch["samples"]), batch["samples"].shape[1:]
    noise = reading_noise(3, shape, 4)

    def one_by_one(denoiser):
        return torch.stack([torch.stack([torch.stack([
            pooled(denoiser.features(add_noise(denoiser.parametrization, latent[None], draw[None], sigma), sigma),
                   pooling)[0] for draw in noise]).mean(0) for sigma in sigmas]) for latent in clean])

    expected = bridge.with_denoiser(model, MODELS[name].conditioning(1), MODELS[name].conditioning(2), 1.0,
                                    torch.tensor([*sigmas, 0.0]), shape, 0, one_by_one, layer)
    torch.testing.assert_close(found.means, expected, rtol=1e-3, atol=1e-4)
    assert found.sigmas == tuple(sigmas) and found.layer == bridge.resolve_layer(model, layer)
    assert (found.draws, found.seed, found.pooling, found.shape) == (3, 4, pooling, tuple(shape))
    assert not found.means.is_inference() and not found.fingerprint.is_inference()
    assert not any(module._forward_hooks for module in model.model.diffusion_model.modules())


def test_a_model_is_as_before_and_the_same_again(bridge, built, folders):
    model = built("SD1.5")
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    options = str(model.model_options)
    first, second = means(model, "SD1.5"), means(model, "SD1.5")
    assert torch.equal(first.means, second.means) and first.is_of(second.fingerprint)
    assert all(torch.equal(before[name], value) for name, value in model.model.state_dict().items())
    assert str(model.model_options) == options


def test_the_batch_does_not_matter_and_neither_do_the_other_latents(built, folders):
    model, batch = built("SD1.5"), latents("SD1.5")
    whole = means(model, "SD1.5")
    from mental_averages.nodes.representation import ChannelMeans

    with torch.inference_mode():
        many = ChannelMeans.execute(model, MODELS["SD1.5"].conditioning(1), {"samples": batch["samples"][[2, 0]]},
                                    "0.3, 0.8", 3, "auto", "mean", 4, 64, False).args[0]
    torch.testing.assert_close(many.means, whole.means[[2, 0]], rtol=1e-4, atol=1e-5)


def test_a_clean_latent_is_read_once_without_noise(built, folders):
    from mental_averages.nodes.representation import ChannelMeans

    for name in ("SD1.5", "SD3"):
        calls = Calls(built(name))
        with torch.inference_mode():
            count, found = calls.during(ChannelMeans.execute, calls.model, MODELS[name].conditioning(1), latents(name),
                                        "1", 50, "auto", "mean", 4, 64, False)
        # One for the fingerprint.
        assert count == 2 and found.args[0].sigmas == (0.0,) and torch.isfinite(found.args[0].means).all()


def test_another_model_and_another_prompt_are_told_apart(built, folders):
    from mental_averages.dma.representation import check_alike
    from mental_averages.nodes.representation import ChannelMeans

    model = built("SD1.5")
    here = means(model, "SD1.5")
    with torch.inference_mode():
        other = ChannelMeans.execute(model, MODELS["SD1.5"].conditioning(2), latents("SD1.5"), "0.3, 0.8", 3, "auto",
                                     "mean", 4, 2, False).args[0]
    check_alike(here, here)
    with pytest.raises(ValueError, match="different models, or under different prompts"):
        check_alike(here, other)


@pytest.mark.parametrize("end", ["interrupt", "error"])
def test_an_interrupted_reading_goes_on(built, folders, end):
    model, batch = built("SD1.5"), latents("SD1.5", 4)
    whole = means(model, "SD1.5", batch)
    calls = Calls(model)
    with pytest.raises(calls.stop_when(lambda number: number == 2 * 2 + 8, end)):
        # Two calls of the fingerprint under the key, two of the representation's own, and six batches a level.
        means(calls.model, "SD1.5", batch, resume=True)
    assert not any(module._forward_hooks for module in model.model.diffusion_model.modules())
    assert [meta["done"] for meta in saved_states(folders).values()] == [14]
    count, found = calls.during(means, calls.model, "SD1.5", batch, resume=True)
    assert count == 4 + 12 - 7 and torch.equal(found.means, whole.means)
    count, found = calls.during(means, calls.model, "SD1.5", batch, resume=True)
    assert count == 4 and torch.equal(found.means, whole.means)


@pytest.mark.parametrize("changes, message", [
    (dict(layer="nonsense"), "no layer 'nonsense'. Its layers are: input_blocks.0"),
    (dict(levels="1.2"), "not shares of sampling"),
    (dict(levels="some"), "not a row of numbers"),
    (dict(levels=""), "no levels"),
    (dict(draws=0), "draws is 0"),
    (dict(pooling="3x3"), "no pooling '3x3'"),
    (dict(latents={"samples": torch.zeros(2, 4, 6, 4)}), "is empty"),
    (dict(latents={"samples": torch.full((2, 4, 6, 4), torch.nan)}), "NaN"),
    (dict(latents={"samples": torch.zeros(0, 4, 6, 4)}), "empty batch"),
    (dict(latents={"samples": torch.ones(2, 16, 6, 4)}), "16 channels"),
    (dict(positive=[]), "positive"),
])
def test_bad_input_is_refused_before_work_starts(built, folders, changes, message):
    from mental_averages.nodes.representation import ChannelMeans

    given = dict(model=untouched(built("SD1.5")), positive=MODELS["SD1.5"].conditioning(1), latents=latents("SD1.5"),
                 levels="0.5", draws=1, layer="auto", pooling="mean", seed=0)
    with torch.inference_mode(), pytest.raises(ValueError, match=message):
        ChannelMeans.execute(**{**given, **changes})


@pytest.mark.parametrize("kind", ["eps", "v_prediction"])
def test_a_law_without_a_level_of_0_is_read_at_its_lowest(built, kind):
    """EDM asks the network about the logarithm of a noise level."""
    from comfy_extras.nodes_model_advanced import ModelSamplingContinuousEDM

    from mental_averages.nodes.inputs import noise_levels
    from mental_averages.nodes.representation import ChannelMeans

    with torch.inference_mode():
        model = ModelSamplingContinuousEDM().patch(built("SD1.5"), kind, 80.0, 0.002)[0]
        found = ChannelMeans.execute(model, MODELS["SD1.5"].conditioning(1), latents("SD1.5"), "0.5, 1", 2, "auto",
                                     "mean", 0, resume=False).args[0]
    assert found.sigmas[-1] == pytest.approx(0.002, rel=1e-3) and found.means.isfinite().all()
    assert noise_levels(built("SD1.5"), "1") == [0.0]
