"""What has been recorded of finished latents, by their values."""
import torch


def test_only_so_many_are_remembered(bridge):
    from mental_averages.nodes.comfyui import _recording

    records, kind = _recording._Records(3), bridge.SamplingKind("a", "b", 4.0, "euler", 8, 14.6)
    rows = torch.arange(5.0)[:, None]
    records.put(rows, torch.arange(5.0), (1.0,), kind)
    assert [each and each.score for each in records.of(rows)] == [None, None, 2.0, 3.0, 4.0]
    records.put(rows[2:3], torch.tensor([9.0]), (1.0,), kind)
    records.put(rows[:1], torch.tensor([8.0]), (1.0,), kind)
    assert [each and each.score for each in records.of(rows)] == [8.0, None, 9.0, None, 4.0]


def test_latents_are_found_in_every_form_that_they_are_carried_in(bridge):
    rows = torch.randn(2, 16, 4, 4, generator=torch.Generator().manual_seed(77))
    bridge.remember(rows, torch.tensor([1.0, 2.0]), (0.5,), bridge.SamplingKind("a", "b", 4.0, "euler", 8, 14.6))
    for carried in (rows, rows.unsqueeze(2), rows.double(), rows.transpose(2, 3).contiguous().transpose(2, 3)):
        assert [each.score for each in bridge.recorded(carried)] == [1.0, 2.0]
    assert bridge.recorded(rows + 1e-3) == [None, None]


def test_latents_are_rescaled_where_core_does_it(small, bridge, monkeypatch):
    """A GPU multiplies by the inverse of a scale where a processor divides, and latents are found by their bits."""
    import comfy_extras.nodes_custom_sampler as core
    from inversions import method
    from single_precision_device import DEVICE, pretended

    from mental_averages.nodes.comfyui import _sampler
    from mental_averages.nodes.inversion import DDIMSamplerSelect

    model, (text, _) = small
    own, seen = _sampler.predictor, []

    def predictor(*arguments):
        denoiser = own(*arguments)
        seen.append(denoiser.finishes_on == arguments[0].model_patcher.load_device)
        with pretended():
            denoiser.finishes_on = DEVICE
            seen.append(denoiser._finished(torch.ones(1, 4, 8, 8)).device == DEVICE)
        denoiser.finishes_on = torch.device("cpu")
        return denoiser

    monkeypatch.setattr(_sampler, "predictor", predictor)
    with torch.inference_mode():
        core.SamplerCustomAdvanced.execute(
            core.RandomNoise.execute(7).args[0],
            core.BasicGuider.execute(bridge.recording_model(model, 3), text).args[0],
            DDIMSamplerSelect.execute(method("ddim")).args[0], bridge.sigmas_of(model, "simple", 3),
            {"samples": torch.zeros(1, 4, 8, 8)})
    assert seen == [True, True]
    bridge.with_denoiser(model, text, text, 1.0, torch.tensor([1.0, 0.0]), (4, 8, 8), 0,
                         lambda denoiser: seen.append(denoiser.finishes_on.type == "cpu"), layer=None)
    assert seen[2:] == [True]


def test_predictions_wait_on_the_device_as_long_as_they_fit(small, bridge, monkeypatch):
    """A copy to the CPU at every step would wait for the device; many large ones would fill it."""
    import comfy.samplers
    from single_precision_device import DEVICE, pretended

    from mental_averages.nodes.comfyui import _recording

    model, texts = small
    seen = []

    def trailing_variance(predictions):
        seen.append({each.device for each in predictions})
        return own(predictions)

    own = _recording.trailing_variance
    monkeypatch.setattr(_recording, "trailing_variance", trailing_variance)
    patched, guider = bridge.recording_model(model, 3), comfy.samplers.CFGGuider(model)
    guider.set_conds(*texts)
    guider.set_cfg(4.0)

    class Executor:
        class_obj = guider

        def __call__(self, noise, latent, sampler, sigmas, mask, callback):
            for step in range(4):
                callback(step, noise.to(DEVICE) + step, noise, 4)
            return noise

    wrapper = next(iter(patched.wrappers.values()))[_recording.KEY][0]
    noise, found = torch.randn(2, 4, 8, 8), []
    with pretended():
        for most in (_recording.MOST_ON_DEVICE, noise.numel() * 4 * 3 - 1):
            monkeypatch.setattr(_recording, "MOST_ON_DEVICE", most)
            wrapper(Executor(), noise, noise, None, torch.tensor([4.0, 3.0, 2.0, 1.0, 0.0]))
            found.append([each.score for each in bridge.recorded(noise)])
    assert seen == [{DEVICE}, {torch.device("cpu")}] and found[0] == found[1] and found[0][0] > 0


def test_levels_that_a_scheduler_repeats_are_counted_once(small, bridge):
    """As this pack's own sampling counts them: a step between equal levels is none."""
    import comfy.samplers

    from mental_averages.nodes.comfyui import _sampling_kind

    guider = comfy.samplers.CFGGuider(small[0])
    once, twice = (_sampling_kind.kind_of(guider, "euler", torch.tensor(levels))
                   for levels in ([3.0, 1.0, 0.0], [3.0, 1.0, 1.0, 0.0]))
    assert once == twice and once.steps == 2
