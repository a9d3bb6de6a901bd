"""DirectionFromPictures: the difference of channel means, from latents and from images."""
import pytest
import torch
from core_predictions import with_option
from small_models import MODELS
from stopping import untouched

SHAPES = {"SD1.5": (4, 8, 8), "SDXL": (4, 8, 8), "SD3": (16, 8, 8)}


def latents(count, mean=0.0, seed=0, shape=(4, 8, 8)):
    return {"samples": mean + torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))}


def made(model, with_it, without_it, prompt=None, **change):
    from mental_averages.nodes.steering import DirectionFromPictures

    arguments = {**dict(layers="", percent=0.6, draws=2, scale="difference", seed=0, resume=False), **change}
    with torch.inference_mode():
        return DirectionFromPictures.execute(model, prompt or MODELS["SD1.5"].conditioning(1), with_it, without_it,
                                             **arguments).args


@pytest.mark.parametrize("name", SHAPES)
def test_it_is_the_difference_of_channel_means(built, bridge, name):
    from mental_averages.dma.diffusion import add_noise
    from mental_averages.dma.representation import reading_noise

    model, shape, prompt = built(name), SHAPES[name], MODELS[name].conditioning(1)
    sets = latents(3, 1.0, 1, shape), latents(4, 0.0, 2, shape)
    direction, table, separation = made(model, *sets, prompt, weighting="equal")
    sampling = model.get_model_object("model_sampling")
    sigma, noise = float(sampling.percent_to_sigma(0.6)), reading_noise(2, shape, 0)
    names = list(direction.layers)
    assert names == {"SD3": ["joint_blocks.0", "joint_blocks.1"]}.get(
        name, ["middle_block", "output_blocks.0", "output_blocks.1"])
    for layer in (names[0], names[-1]):
        def read(denoiser):
            means = []
            for each in sets:
                noisy = torch.cat([add_noise(denoiser.parametrization, clean[None], noise, sigma)
                                   for clean in model.model.process_latent_in(each["samples"])])
                means.append(denoiser.features(noisy, sigma).mean(dim=(0, 2, 3)))
            return means

        positive, negative = bridge.with_denoiser(model, prompt, prompt, 1.0, torch.tensor([sigma, 0.0]), shape, 0,
                                                  read, layer=layer)
        torch.testing.assert_close(direction.layers[layer].vector, positive - negative, rtol=1e-3, atol=1e-4)
        assert f"| {layer} | {len(positive)} |" in table
    assert separation == direction.separation == 1.0 and "3 pictures with it and 4 without" in table
    assert "leads" not in table


@pytest.mark.parametrize("name", ["SD1.5", "SD3"])
def test_layers_are_weighted_by_how_far_predictions_move(built, bridge, name):
    from mental_averages.dma.diffusion import add_noise
    from mental_averages.dma.representation import reading_noise
    from mental_averages.dma.steering import lead, straightness, weighted_to_lead
    from mental_averages.nodes.steering import SteerRepresentation

    model, shape, prompt = built(name), SHAPES[name], MODELS[name].conditioning(1)
    sets = latents(11, 1.0, 1, shape), latents(4, 0.0, 2, shape)
    plain = made(model, *sets, prompt, weighting="equal", layers="*")[0]
    weighted, table, _ = made(model, *sets, prompt, batch_size=5)
    assert list(weighted.layers) == list(plain.layers)
    with_it, without_it = (model.model.process_latent_in(each["samples"]) for each in sets)
    way = with_it.mean(0) - without_it.mean(0)
    clean = torch.cat([with_it[[0, 1, 2, 4, 5, 6, 8, 9]], without_it])
    noise = reading_noise(12, shape, 0)
    sigmas = [float(model.get_model_object("model_sampling").percent_to_sigma(level)) for level in (0.3, 0.45, 0.6)]

    def predicted(patched):
        return bridge.with_denoiser(
            patched, prompt, prompt, 1.0, torch.tensor([*sigmas, 0.0]), shape, 0,
            lambda denoiser: [denoiser.denoise(add_noise(denoiser.parametrization, clean, noise, sigma), sigma)
                              for sigma in sigmas], layer=None, gradients=False)

    usual, moved = predicted(model), {}
    for layer in plain.layers:
        with torch.inference_mode():
            steered = predicted(SteerRepresentation.execute(model, plain, 1.0, layer, 0.0, 1.0, "both").args[0])
        moved[layer] = torch.stack([(after - before).mean(0) for before, after in zip(usual, steered)])
    expected = weighted_to_lead(plain, moved, way)
    for layer, each in weighted.layers.items():
        other = expected.layers[layer]
        assert each.lead == pytest.approx(other.lead, rel=1e-2, abs=1e-4)
        assert each.weight == pytest.approx(other.weight, rel=2e-2, abs=1e-3)
        torch.testing.assert_close(each.vector, each.weight * plain.layers[layer].vector, rtol=1e-3, atol=1e-5)
        assert f"| {each.lead:+.1%} | {each.weight:+.2f} |" in table
        assert not each.vector.is_inference()
    with torch.inference_mode():
        steered = predicted(SteerRepresentation.execute(model, weighted, 1.0, "", 0.0, 1.0, "both").args[0])
    together = torch.stack([(after - before).mean(0) for before, after in zip(usual, steered)])
    assert weighted.lead == pytest.approx(lead(together, way), rel=1e-2)
    assert weighted.cosine == pytest.approx(straightness(together, way), rel=1e-2)
    assert f"All together lead {weighted.lead:.0%} of the way" in table


def test_what_holds_one_entry_for_each_latent_is_refused_before_reading(built):
    """Pictures of both sets are predicted together, where the hints of one could not be told from the other's."""
    from controls import controlled

    model = built("SD1.5")
    prompt = controlled(MODELS["SD1.5"].conditioning(1), hints=3)
    with pytest.raises(ValueError, match="one for each"):
        made(untouched(model), latents(3, 1.0, 1), latents(3, 0.0, 2), prompt)


def test_a_prompt_that_is_not_active_where_predictions_are_asked_for_is_refused(built):
    """Core takes zeros for a prediction that no prompt is asked for; features are read where it is active."""
    prompt = with_option(MODELS["SD1.5"].conditioning(1), start_percent=0.5, end_percent=1.0)
    sets = latents(3, 1.0, 1), latents(3, 0.0, 2)
    assert made(built("SD1.5"), *sets, prompt, weighting="equal", layers="middle_block")[0].layers
    with pytest.raises(ValueError, match="No part of the positive conditioning is active at noise level"):
        made(untouched(built("SD1.5")), *sets, prompt)


def test_of_every_layer_movements_are_kept_in_single_precision(built, monkeypatch):
    from mental_averages.dma import steering

    kept, weighted = [], steering.weighted_to_lead
    monkeypatch.setattr(steering, "weighted_to_lead", lambda direction, moved, way: (
        kept.extend(each.dtype for each in moved.values()), weighted(direction, moved, way))[1])
    made(built("SD1.5"), latents(2, 1.0, 1), latents(2, 0.0, 2), layers="middle_block, output_blocks.0")
    assert kept == [torch.float32, torch.float32]


def test_where_layers_lead_is_not_asked_for_pictures_of_one_mean(built):
    """Their features may differ where their latents' means do not."""
    one, noise = latents(2)["samples"], latents(2, seed=1)["samples"]
    with_it, without_it = {"samples": torch.cat([one, -one])}, {"samples": torch.cat([noise, -noise])}
    assert made(built("SD1.5"), with_it, without_it, weighting="equal")[0].layers
    with pytest.raises(ValueError, match="The mean pictures of the two sets are the same"):
        made(untouched(built("SD1.5")), with_it, without_it)


def test_images_are_the_latents_that_the_vae_makes_of_them(demo, prompts):
    model, _, vae = demo
    images = torch.rand(5, 64, 64, 3, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        encoded = [{"samples": vae.encode(images[rows])} for rows in (slice(0, 2), slice(2, 5))]
    arguments = dict(layers="middle_block", draws=1)
    expected = made(model, *encoded, prompts[1], **arguments)[0]
    found = made(model, images[:2], images[2:], prompts[1], vae=vae, **arguments)[0]
    torch.testing.assert_close(found.layers["middle_block"].vector, expected.layers["middle_block"].vector, rtol=1e-3,
                               atol=1e-5)


def test_a_vae_of_videos_does_not_take_a_set_for_one_film(built):
    """As that of Qwen-Image is."""
    import comfy.ldm.wan.vae
    import comfy.sd

    with torch.inference_mode():
        torch.manual_seed(0)
        weights = comfy.ldm.wan.vae.WanVAE(
            dim=8, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2, attn_scales=[],
            temperal_downsample=[False, True, True], dropout=0.0).state_dict()
        vae = comfy.sd.VAE(sd={name: torch.randn(each.shape) * (0.3 if each.ndim == 1 else each[0].numel() ** -0.5)
                               for name, each in weights.items()})
        images = torch.rand(5, 64, 64, 3)
        alone = torch.cat([vae.encode(image[None]) for image in images])
        assert vae.encode(images).shape == (1, 16, 2, 8, 8) and alone.shape == (5, 16, 1, 8, 8)
    model, prompt = built("Qwen-Image"), MODELS["Qwen-Image"].conditioning(1)
    found = made(model, images[:2], images[2:], prompt, vae=vae)[0]
    expected = made(model, {"samples": alone[:2]}, {"samples": alone[2:]}, prompt)[0]
    assert (found.positive, found.negative) == (2, 3)
    for layer, each in expected.layers.items():
        torch.testing.assert_close(found.layers[layer].vector, each.vector, rtol=1e-3, atol=1e-5)


def test_nothing_is_encoded_where_one_set_will_not_do(demo, monkeypatch):
    model, _, vae = demo
    seen = []
    monkeypatch.setattr(vae, "encode", lambda pictures: seen.append(len(pictures)))
    with pytest.raises(ValueError, match="without_it holds 1 picture"):
        made(untouched(model), torch.rand(3, 64, 64, 3), torch.rand(1, 64, 64, 3), vae=vae)
    with pytest.raises(ValueError, match="with_it holds images of 64 x 64, which become latents of 8 x 8, but "
                       "without_it holds images of 64 x 48, which become latents of 8 x 6: sizes are seen"):
        made(untouched(model), torch.rand(3, 64, 64, 3), torch.rand(2, 48, 64, 3), vae=vae)
    with pytest.raises(ValueError, match="with_it holds images of 71 x 64, which become latents of 8 x 8, but "
                       "without_it holds latents of 8 x 9"):
        made(untouched(model), torch.rand(3, 64, 71, 3), latents(2, shape=(4, 9, 8)), vae=vae)
    assert not seen


def test_sizes_that_the_vae_crops_to_the_same_are_the_same(demo, prompts):
    """64 and 65 pixels are both eight latents, also beside eight latents that were given."""
    model, _, vae = demo
    larger = torch.rand(4, 65, 64, 3, generator=torch.Generator().manual_seed(3))
    arguments = dict(layers="middle_block", draws=1, weighting="equal", vae=vae)
    with torch.inference_mode():
        encoded = {"samples": vae.encode(larger[2:])}
    expected, found, mixed = (made(model, larger[:2, :64], others, prompts[1], **arguments)[0].layers["middle_block"]
                              for others in (larger[2:, :64], larger[2:], encoded))
    torch.testing.assert_close(found.vector, expected.vector, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(mixed.vector, expected.vector, rtol=1e-3, atol=1e-5)


def test_steering_by_it_moves_features_by_it(built, bridge):
    """At strength 1 features at the layer are shifted by the difference of the sets' means."""
    from mental_averages.nodes.steering import SteerRepresentation

    model = built("SD1.5")
    direction = made(model, latents(3, 1.0, 1), latents(3, 0.0, 2), layers="middle_block", weighting="equal")[0]
    with torch.inference_mode():
        steered = SteerRepresentation.execute(model, direction, 1.0, "", 0.0, 1.0, "both").args[0]
    x, texts = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(5)), MODELS["SD1.5"].conditioning(1)
    plain, moved = (bridge.with_denoiser(each, texts, texts, 1.0, torch.tensor([1.0, 0.0]), (4, 8, 8), 0,
                                         lambda denoiser: denoiser.features(x, 1.0), layer="middle_block")
                    for each in (model, steered))
    torch.testing.assert_close((moved - plain).mean((0, 2, 3)), direction.layers["middle_block"].vector, rtol=1e-3,
                               atol=1e-4)


def test_layers_and_scales(built):
    model = built("SD1.5")
    sets = latents(3, 1.0, 1), latents(3, 0.0, 2)
    found = made(model, *sets, layers="output_blocks.1, input_blocks", scale="unit", weighting="equal")[0]
    assert list(found.layers) == [*(f"input_blocks.{number}" for number in range(4)), "output_blocks.1"]
    assert all(each.vector.norm() == pytest.approx(1.0, rel=1e-4) for each in found.layers.values())


def test_it_goes_on_from_what_was_read(built, folders):
    from stopping import Calls

    calls = Calls(built("SD1.5"))
    sets = latents(3, 1.0, 1), latents(3, 0.0, 2)
    first, found = calls.during(made, calls.model, *sets, resume=True, weighting="equal")
    again, same = calls.during(made, calls.model, *sets, resume=True, weighting="equal", scale="unit")
    assert again < first
    torch.testing.assert_close(found[0].layers["middle_block"].vector / found[0].layers["middle_block"].length,
                               same[0].layers["middle_block"].vector)


def test_where_layers_lead_is_gone_on_with(built, folders, caplog):
    """It is the larger part: a sampling for each layer."""
    from stopping import Calls

    calls, sets = Calls(built("SD1.5")), (latents(3, 1.0, 1), latents(4, 0.0, 2))
    count, expected = calls.during(made, calls.model, *sets)
    with pytest.raises(calls.stop_when(lambda number: number == count)):
        made(calls.model, *sets, resume=True)
    rest, found = calls.during(made, calls.model, *sets, resume=True)
    again, same = calls.during(made, calls.model, *sets, resume=True)
    with caplog.at_level("INFO"):
        other = made(calls.model, *sets, resume=True, seed=1)
    # A run that keeps what it has takes `again` more calls, by which the model is known again. What was not taken when
    # it was stopped remains, and the three levels of the layer that was under way.
    assert again < count / 2 and again < rest <= 2 * again + 3
    for each in (found, same):
        assert each[1:] == expected[1:] and list(each[0].layers) == list(expected[0].layers)
        for name, layer in expected[0].layers.items():
            assert torch.equal(each[0].layers[name].vector, layer.vector)
            assert each[0].layers[name].weight == layer.weight
    assert other[1] != expected[1] and "found again" not in caplog.text


@pytest.mark.parametrize("part, other", [("device", "another card"), ("pytorch", "3.0.0")])
def test_movements_of_another_computer_are_not_taken(built, folders, caplog, monkeypatch, part, other):
    """A movement is the small difference of two predictions: of two that round otherwise it would be of roundings."""
    from stopping import Calls

    calls, sets = Calls(built("SD1.5")), (latents(3, 1.0, 1), latents(4, 0.0, 2))
    arguments = dict(layers="middle_block, output_blocks.0", resume=True)
    made(calls.model, *sets, **arguments)
    with caplog.at_level("INFO"):
        again, _ = calls.during(made, calls.model, *sets, **arguments)
        assert "4 of 4 predictions of where layers lead were found again" in caplog.text
        caplog.clear()
        if part == "device":
            monkeypatch.setattr("comfy.model_management.get_torch_device_name", lambda device: other)
        else:
            monkeypatch.setattr(torch, "__version__", other)
        anew, _ = calls.during(made, calls.model, *sets, **arguments)
    assert "found again" not in caplog.text and anew > again


@pytest.mark.parametrize("change, complaint", [
    (dict(with_it=latents(1)), "with_it holds 1 picture, but a direction takes at least 2"),
    (dict(without_it=torch.rand(1, 64, 64, 3)), "without_it holds images: connect the vae"),
    (dict(without_it={"samples": torch.zeros(0, 4, 8, 8)}), "empty batch"),
    (dict(with_it={"samples": torch.full((2, 4, 8, 8), torch.nan)}), "NaN"),
    (dict(with_it={"samples": torch.cat([torch.zeros(1, 4, 8, 8), latents(1)["samples"]])}), "empty"),
    (dict(with_it={"samples": latents(1)["samples"].repeat(3, 1, 1, 1)}), "with_it holds 1 different picture, but"),
    (dict(with_it=latents(2, shape=(16, 8, 8))), "16 channels"),
    (dict(with_it=latents(2, shape=(4, 8, 6))), "with_it holds latents of 6 x 8, but without_it holds latents of 8"),
    (dict(layers="joint_blocks"), "No layer of this model fits 'joint_blocks'"),
    (dict(percent=1.5), "percent"), (dict(draws=0), "draws"), (dict(scale="norm"), "scale"),
    (dict(weighting="auroc"), "weighting"), (dict(scale="unit"), "the weighting 'lead' scales layers itself")])
def test_bad_inputs_are_refused_before_the_model_is_asked(built, change, complaint):
    arguments = {**dict(with_it=latents(2, 1.0, 1), without_it=latents(2)), **change}
    with pytest.raises(ValueError, match=complaint):
        made(untouched(built("SD1.5")), **arguments)


def test_a_copy_is_no_picture_of_its_own(built):
    """It would be judged by a direction that was made of it."""
    model, one, other = built("SD1.5"), latents(4, 0.2, 1), latents(5)
    copied = {"samples": one["samples"][[0, 1, 1, 2, 3, 3]]}
    (expected, table, separation), (found, again, same) = made(model, one, other), made(model, copied, other)
    assert again == table and same == separation and found.positive == 4
    assert all(torch.equal(found.layers[layer].vector, each.vector) for layer, each in expected.layers.items())


def test_the_same_pictures_have_no_direction(built):
    with pytest.raises(ValueError, match="the means of the two sets are the same"):
        made(built("SD1.5"), latents(2), latents(2), weighting="equal")
