"""TrainModeLoRA: on small models with every prediction, and on the demo model with core's own nodes around it."""
import pytest
import torch
from core_predictions import with_option
from small_models import MODELS
from stopping import Calls, untouched

import pack


def train(model, latents, positive, **change):
    """(lora, adapted, loss, report) of the node, inside inference mode as ComfyUI runs it."""
    from mental_averages.nodes.training import TrainModeLoRA

    arguments = dict(steps=6, learning_rate=1e-3, rank=1, seed=1, preview_interval=0, resume=False)
    with torch.inference_mode():
        return TrainModeLoRA.execute(model, latents, positive, **{**arguments, **change}).args


def small_case(name):
    """A small MODEL, LATENT and CONDITIONING."""
    model, generator = MODELS[name].build(), torch.Generator().manual_seed(0)
    samples = torch.randn((2, model.model.latent_format.latent_channels, *MODELS[name].size), generator=generator)
    return model, {"samples": samples}, MODELS[name].conditioning(0)


def losses_on_fixed_noise(model, latents, positive):
    """The training loss (60,) of a MODEL on noise that training does not see."""
    from mental_averages.dma import training
    from mental_averages.nodes import comfyui

    clean = comfyui.latents_into_model(model, latents["samples"])
    settings = training.TrainingSettings(batch_size=20, seed=99)

    def measure(denoiser):
        loss = training.loss_on(clean, denoiser.parametrization, denoiser.device,
                                          denoiser.denoise_differentiably)
        return torch.cat([loss(*training.draw(settings, step, len(clean), clean.shape[1:],
                                                        denoiser.noise_levels()))
                          for step in range(3)])

    sigmas, shape = torch.tensor([1.0, 0.0]), tuple(clean.shape[1:])
    return comfyui.with_denoiser(model, positive, positive, 1.0, sigmas, shape, 0, measure, layer=None)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("name", ["SD1.5", "SD2.x", "SD3"])
def test_training_works_for_every_prediction(comfyui, name):
    model, latents, positive = small_case(name)
    before = losses_on_fixed_noise(model, latents, positive)
    weights = {key: value.clone() for key, value in model.model.state_dict().items()}
    change = dict(learning_rate=1e-2, rank=2, batch_size=2, target="all linear and conv")
    lora, adapted, loss, report = train(model, latents, positive, **change, steps=40)
    after = losses_on_fixed_noise(adapted, latents, positive)
    assert after.mean() < 0.97 * before.mean() and len(loss["loss"]) == 40
    short, _, short_loss, _ = train(model, latents, positive, **change, steps=3)
    torch.manual_seed(3)  # the global generator plays no part
    assert same(train(model, latents, positive, **change, steps=3)[0], short) and short_loss["loss"] == loss["loss"][:3]
    assert not same(train(model, latents, positive, **change, steps=3, seed=2)[0], short)
    checkpointed = train(model, latents, positive, **change, steps=3, gradient_checkpointing=True)[2]
    assert checkpointed["loss"] == pytest.approx(short_loss["loss"], rel=1e-4)
    adapted.unpatch_model()
    assert all(torch.equal(value, weights[key]) for key, value in model.model.state_dict().items())
    assert (report.settings["latents"] == 2 and report.settings["node"] == "TrainModeLoRA"
            and report.losses == loss["loss"])
    assert report.settings["parameters"] == sum(value.numel() for value in lora.values()) - report.settings["layers"]
    assert type(report).from_json(report.to_json()) == report


def test_precision_changes_the_computation_and_not_the_model(comfyui):
    model, latents, positive = small_case("SD1.5")
    before = losses_on_fixed_noise(model, latents, positive)
    plain, _, loss, _ = train(model, latents, positive)
    lora, _, rounded, _ = train(model, latents, positive, precision="bfloat16")
    assert same(train(model, latents, positive, precision="float32")[0], plain)
    assert not same(lora, plain) and rounded["loss"] == pytest.approx(loss["loss"], rel=0.05)
    assert all(value.dtype == torch.float32 for value in lora.values())
    assert torch.equal(losses_on_fixed_noise(model, latents, positive), before)


def ksampler(model, positive, negative):
    import nodes

    with torch.inference_mode():
        latent = {"samples": torch.zeros(1, 4, 8, 8)}
        return nodes.common_ksampler(model, 5, 3, 4.0, "euler", "normal", positive, negative, latent)[0]["samples"]


@pytest.fixture(scope="module")
def disc(demo):
    """LATENT of three pictures: a disc of another size in each."""
    axis = torch.linspace(-1, 1, 64)
    radius = (axis[:, None].square() + axis[None].square()).sqrt()
    pictures = torch.stack([(radius < size).float()
                            for size in (0.5, 0.6, 0.7)])[..., None] * torch.tensor([0.9, 0.2, 0.1])
    with torch.inference_mode():
        return {"samples": demo[2].encode(pictures)}


def test_training_on_the_demo_model_and_round_trip_through_cores_nodes(demo, prompts, disc, folders, monkeypatch):
    import folder_paths
    import nodes
    from comfy_extras.nodes_train import LoraModelLoader, SaveLoRA

    model, clip, _ = demo
    weights, before = {name: value.clone()
                       for name, value in model.model.state_dict().items()}, ksampler(model, *prompts)
    fixed = losses_on_fixed_noise(model, disc, prompts[0])
    lora, adapted, loss, _ = train(model, disc, prompts[0], steps=30, learning_rate=2e-3, preview_interval=15)
    assert losses_on_fixed_noise(adapted, disc, prompts[0]).mean() < 0.9 * fixed.mean()
    live = ksampler(adapted, *prompts)
    assert torch.equal(ksampler(model, *prompts), before) and not torch.equal(live, before)
    assert all(torch.equal(value, weights[name]) for name, value in model.model.state_dict().items())

    loras = folders / "output" / "loras"
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", ([str(loras)], {".safetensors"}))
    with torch.inference_mode():
        SaveLoRA.execute(lora, "loras/mode", 30)
        loaded, _ = nodes.LoraLoader().load_lora(model, clip, "mode_30_steps_00001_.safetensors", 1.0, 1.0)
        directly = LoraModelLoader.execute(model, lora, 1.0).args[0]
        bypassed = LoraModelLoader.execute(model, lora, 1.0, bypass=True).args[0]
    assert torch.equal(ksampler(loaded, *prompts), live)
    assert torch.equal(ksampler(directly, *prompts), live)
    torch.testing.assert_close(ksampler(bypassed, *prompts), live, rtol=1e-3, atol=1e-3 * live.abs().max().item())
    assert torch.equal(ksampler(model, *prompts), before)
    assert all(isinstance(value, float) for value in loss["loss"])


@pytest.mark.parametrize("end", ["interrupt", "error"])
def test_interrupted_and_resumed_equals_uninterrupted(demo, prompts, disc, folders, end):
    calls = Calls(demo[0])
    model, change = calls.model, dict(steps=6, resume=True, batch_size=2)

    def calls_of(**other):
        return calls.during(train, model, disc, prompts[0], **{**change, **other})

    expected, _, losses, _ = train(model, disc, prompts[0], **{**change, "resume": False})
    before = ksampler(model, *prompts)
    # What is asked of the network before the first step, seen where there is nothing left to do; a step is one call.
    first, _ = calls_of(seed=8, steps=1)
    around, _ = calls_of(seed=8, steps=1)
    assert first == around + 1
    with pytest.raises(calls.stop_when(lambda count: count == around + 5, end)):
        train(model, disc, prompts[0], **change)
    assert torch.equal(ksampler(model, *prompts), before)
    assert not any(module._forward_hooks for module in model.model.diffusion_model.modules())
    left, (lora, _, resumed, _) = calls_of()
    assert same(lora, expected) and resumed["loss"] == losses["loss"]
    assert left == around + 2, "the fifth step and the sixth"
    assert calls_of()[0] == around, "a finished training is not done again"
    assert calls_of(rank=2, steps=1)[0] == around + 1, "another rank is another training"


@pytest.mark.parametrize("change, message", [
    (dict(steps=0), "steps is 0"), (dict(learning_rate=0.0), "learning_rate is 0"), (dict(alpha=0.0), "alpha is 0"),
    (dict(rank=0), "rank is 0"), (dict(rank=17), "rank is 17, but the layer"), (dict(batch_size=0), "batch_size is 0")])
def test_senseless_settings_are_refused(comfyui, change, message):
    refuse(*small_case("SD1.5"), message, **change)


@pytest.mark.parametrize("samples, message", [
    (torch.zeros(2, 4, 6, 4), "Latent 0 of 2 is empty"),
    (torch.tensor([1.0, 0.0]).view(2, 1, 1, 1).expand(2, 4, 6, 4), "Latent 1 of 2 is empty"),
    (torch.zeros(0, 4, 6, 4), "empty batch"), (torch.ones(2, 16, 6, 4), "16 channels, but the model works on 4"),
    (torch.full((2, 4, 6, 4), float("nan")), "NaN or infinity"),
    (torch.ones(2, 4, 3, 6, 4), "a video, audio or combined latent")])
def test_latents_that_cannot_be_learned_are_refused(comfyui, samples, message):
    model, _, positive = small_case("SD1.5")
    refuse(model, {"samples": samples}, positive, message)


def test_other_inputs_that_cannot_be_used_are_refused(comfyui):
    model, latents, positive = small_case("SD1.5")
    refuse(model, {**latents, "noise_mask": torch.ones(1, 6, 4)}, positive, "inpainting mask")
    refuse(model, latents, [], "positive conditioning is empty")
    refuse(model, latents, [[positive[0][0], {"mask": torch.ones(1, 6, 4)}]], "carries a mask")
    with torch.inference_mode():
        model.model.diffusion_model.out[2].weight[0, 0, 0, 0] = float("nan")
    refuse(model, latents, positive, "The weight out.2.weight of this model contains NaN")


@pytest.mark.parametrize("ranges", [[(0.3, 1.0)], [(0.0, 0.5)], [(0.0, 0.4), (0.6, 1.0)]])
def test_a_prompt_that_covers_part_of_the_schedule_is_refused(comfyui, ranges):
    """Where no prompt is active core predicts zeros, of which nothing can be learned."""
    model, latents, positive = small_case("SD1.5")
    refuse(model, latents, in_ranges(positive, *ranges), "No part of the positive conditioning is active")


def test_prompts_that_together_cover_the_schedule_are_trained_on_as_one(comfyui):
    model, latents, positive = small_case("SD1.5")
    parts = in_ranges(positive, (0.0, 0.5), (0.5, 1.0))
    whole, found = (train(model, latents, prompt, steps=4)[2]["loss"] for prompt in (positive, parts))
    assert found == pytest.approx(whole, rel=1e-4)


def test_a_prompt_without_a_range_is_active_at_every_level_of_a_shifted_schedule(comfyui):
    """The highest is a rounding above what core calls the start, to which it holds those that have a range."""
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    model, latents, positive = small_case("SD3")
    model = ModelSamplingSD3().patch(model, 2.66)[0]
    law = model.get_model_object("model_sampling")
    assert law.sigmas[-1].item() > law.percent_to_sigma(0.0)
    assert len(train(model, latents, positive, steps=2)[2]["loss"]) == 2
    refuse(model, latents, in_ranges(positive, (0.0, 1.0)), "No part of the positive conditioning is active")


@pytest.mark.parametrize("batch_size, rows", [(3, 3), (100, 64)])
def test_core_frees_memory_for_no_more_latents_than_a_pass_takes(comfyui, monkeypatch, batch_size, rows):
    import comfy.sampler_helpers

    prepare, counts, passes = comfy.sampler_helpers.prepare_sampling, [], []

    def noted(model, noise_shape, *arguments, **options):
        counts.append(noise_shape[0])
        return prepare(model, noise_shape, *arguments, **options)

    def counted(apply, arguments):
        passes.append(len(arguments["input"]))
        return apply(arguments["input"], arguments["timestep"], **arguments["c"])

    model, latents, positive = small_case("SD1.5")
    model = model.clone()
    model.set_model_unet_function_wrapper(counted)
    monkeypatch.setattr(comfy.sampler_helpers, "prepare_sampling", noted)
    train(model, latents, positive, steps=1, batch_size=batch_size)
    assert counts == [4 * rows] and max(passes) == rows


def in_ranges(conditioning, *ranges):
    """A prompt's copies by Conditioning Set Timestep Range, combined."""
    return [copy for start, end in ranges
            for copy in with_option(conditioning, start_percent=start, end_percent=end)]


def refuse(model, latents, positive, message, **change):
    with pytest.raises(ValueError, match=message):
        train(untouched(model), latents, positive, **change)


def test_prompt_with_a_range_is_active_where_it_says(demo):
    """Each row has the entries of its own noise level, whichever rows are in its batch."""
    from mental_averages.nodes import comfyui

    early, late = (pack.encode_prompt(demo[1], text) for text in ("cat", "red heart"))
    both = [[early[0][0], {**early[0][1], "start_percent": 0.0, "end_percent": 0.5}],
            [late[0][0], {**late[0][1], "start_percent": 0.5, "end_percent": 1.0}]]
    sigma = torch.tensor([12.0, 0.1])

    def predict(denoiser):
        x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * sigma.view(2, 1, 1, 1)
        with torch.no_grad():
            return denoiser.denoise_differentiably(x, sigma)

    sigmas = torch.tensor([12.0, 0.0])
    mixed, first, second = (comfyui.with_denoiser(demo[0], prompt, prompt, 1.0, sigmas, (4, 8, 8), 0, predict,
                                                      layer=None)
                            for prompt in (both, early, late))
    torch.testing.assert_close(mixed[0], first[0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(mixed[1], second[1], rtol=1e-3, atol=1e-3)
    assert (first[1] - second[1]).abs().max() > 1e-2


def test_train_mode_lora(demo, numbered, samples, folders):
    from mental_averages.nodes.training import TrainModeLoRA

    with torch.inference_mode():
        report = TrainModeLoRA.execute(demo[0], samples, numbered[0], 2, 1e-4, 1, 0, preview_interval=0).args[3]
    assert len(report.losses) == 2
