"""Each node on the demo model, inside inference mode as ComfyUI runs it."""
import pytest
import torch

import pack


@pytest.fixture
def hspace(demo):
    from mental_averages.nodes.hspace import HSpaceHook

    return HSpaceHook.execute(demo[0], "auto", "none").args[0]


def run_align(hspace, prompts, latent, **change):
    from mental_averages.nodes.alignment import AlignTrajectories

    arguments = dict(count=4, steps=6, aligned_steps=2, iterations=25, learning_rate=0.02, cfg=4.0, scheduler="normal",
                     seed=1, keep=2, resume=False, carried=0, solver="Adam", mean_error=0.0, plateau=0.0, own_noise=1.0)
    with torch.inference_mode():
        return AlignTrajectories.execute(hspace, *prompts, latent, **{**arguments, **change}).args


def test_aligned_latents_agree_and_plain_ones_do_not(hspace, prompts, empty_latent):
    latent, report = run_align(hspace, prompts, empty_latent)
    plain, _ = run_align(hspace, prompts, empty_latent, aligned_steps=0)
    apart = lambda samples: (samples[0] - samples[1]).norm().item()  # noqa: E731
    assert latent["samples"].shape == (2, 4, 8, 8) and latent["samples"].dtype == torch.float32
    assert apart(latent["samples"]) < 0.6 * apart(plain["samples"])
    for step in report.steps:
        assert all(after <= before for before, after in zip(step.residual_before, step.residual_after))
    assert report.steps[0].spread < 0.8 * report.initial_spread
    assert report.settings["layer"] == "middle_block" and report.settings["guidance_scale"] == 4.0
    assert 0 <= report.settings["gradient_error"] < 0.01


def test_same_seed_same_picture_for_any_batch_size(hspace, prompts, empty_latent):
    reference = run_align(hspace, prompts, empty_latent)[0]["samples"]
    assert torch.equal(run_align(hspace, prompts, empty_latent)[0]["samples"], reference)
    single = run_align(hspace, prompts, empty_latent, batch_size=1)[0]["samples"]
    torch.testing.assert_close(single, reference, rtol=0, atol=0.02 * reference.abs().max().item())


def test_resume_after_interrupt_gives_the_same_latents(hspace, prompts, empty_latent, folders, monkeypatch):
    import comfy.model_management

    from mental_averages.dma.alignment import _align
    monkeypatch.setattr(_align, "SECONDS_BETWEEN_SAVES", 0.0)
    change = dict(batch_size=1, resume=True)
    reference = run_align(hspace, prompts, empty_latent, batch_size=1)[0]["samples"]
    saves = []
    original = _align._Run.save

    def save_then_interrupt(self):
        original(self)
        saves.append(self.meta["step"])
        if len(saves) == 6:
            comfy.model_management.interrupt_current_processing()

    monkeypatch.setattr(_align._Run, "save", save_then_interrupt)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run_align(hspace, prompts, empty_latent, **change)
    states = list((folders / "user" / "mental_averages" / "runs").iterdir())
    assert len(states) == 1 and saves[-1] == 1
    resumed, report = run_align(hspace, prompts, empty_latent, **change)
    assert torch.equal(resumed["samples"], reference)
    assert len(saves) < 12 and len(report.steps) == 2


def test_changed_prompt_or_model_starts_anew(demo, hspace, prompts, empty_latent, folders):
    from mental_averages.nodes.comfyui import HSpace

    change = dict(resume=True, count=2, iterations=3)
    first = run_align(hspace, prompts, empty_latent, **change)[0]["samples"]
    again = run_align(hspace, prompts, empty_latent, **change)[0]["samples"]
    assert torch.equal(first, again)
    other = (pack.encode_prompt(demo[1], "cat"), prompts[1])
    assert not torch.equal(run_align(hspace, other, empty_latent, **change)[0]["samples"], first)
    patched = demo[0].clone()
    patched.set_model_sampler_post_cfg_function(lambda arguments: 0.9 * arguments["denoised"])
    changed = run_align(HSpace(patched, "middle_block", "none"), prompts, empty_latent, **change)[0]["samples"]
    assert not torch.equal(changed, first)


def test_saving_memory_changes_nothing(hspace, prompts, empty_latent):
    change = dict(resume=False, count=2, iterations=3)
    kept = run_align(hspace, prompts, empty_latent, **change)[0]["samples"]
    saved = run_align(hspace, prompts, empty_latent, save_memory=True, **change)[0]["samples"]
    torch.testing.assert_close(saved, kept, rtol=1e-4, atol=1e-4)


def test_capture_and_medoid(demo, hspace, prompts, folders):
    from mental_averages.dma import hspace
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
    saved = hspace.load_features(folders / "output" / "captured" / "heart_00001_.safetensors")
    torch.testing.assert_close(saved.values, features.values, rtol=0, atol=0)


def test_zero_latent_equals_core_sampling_without_noise(demo, prompts, empty_latent):
    import nodes

    from mental_averages.nodes.baselines import ZeroLatent

    with torch.inference_mode():
        ours = ZeroLatent.execute(demo[0], *prompts, empty_latent, 6, 4.0, "normal", 0.0, 0).args[0]["samples"]
        (core,) = nodes.common_ksampler(demo[0], 0, 6, 4.0, "ddim", "normal", *prompts, empty_latent,
                                        disable_noise=True)
        noisy = ZeroLatent.execute(demo[0], *prompts, empty_latent, 6, 4.0, "normal", 1.0, 7).args[0]["samples"]
        (plain,) = nodes.common_ksampler(demo[0], 7, 6, 4.0, "ddim", "normal", *prompts, empty_latent)
    torch.testing.assert_close(ours, core["samples"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(noisy, plain["samples"], rtol=1e-4, atol=1e-4)


def test_averages_and_sheet(comfyui):
    from mental_averages.nodes.baselines import AverageImages, AverageLatents
    from mental_averages.nodes.figures import LabelledSheet

    images = torch.rand(3, 8, 8, 3)
    torch.testing.assert_close(AverageImages.execute(images).args[0], images.mean(0, keepdim=True))
    latent = AverageLatents.execute({"samples": images, "batch_index": [0, 1, 2]}).args[0]
    assert set(latent) == {"samples"} and latent["samples"].shape == (1, 8, 8, 3)
    sheet = LabelledSheet.execute({"images0": images, "images1": images[:1]}, "three\none", "title", 64, 8).args[0]
    assert sheet.ndim == 4 and sheet.shape[-1] == 3


def test_report_is_saved_loaded_and_plotted(hspace, prompts, empty_latent, folders):
    from mental_averages.nodes.figures import LoadReport, PlotReport, SaveReport

    _, report = run_align(hspace, prompts, empty_latent)
    name = SaveReport.execute(report, "reports/heart").args[0]
    assert name == "reports/heart_00001_.json"
    loaded = LoadReport.execute(name).args[0]
    assert loaded == report
    before = LoadReport.fingerprint_inputs(name)
    (folders / "output" / name).write_text(report.to_json() + " ")
    assert LoadReport.fingerprint_inputs(name) != before
    assert PlotReport.execute(loaded, 512).args[0].shape[2] == 512
