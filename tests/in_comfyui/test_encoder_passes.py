"""The cost of an average on the real model, in passes and not in seconds: fails when it grows."""
import pytest
import torch

from mental_averages.dma.alignment import PRESETS, AlignmentSettings

# Rows through the U-Net up to the semantic layer (with their backward passes) and whole guided predictions, of one
# average in 12 steps that returns one picture, by preset and K. Lower them when an average becomes cheaper.
LIMITS = {("draft", 32): {"features": 45, "gradients": 9, "predictions": 13},
          ("draft", 1000): {"features": 77, "gradients": 9, "predictions": 13},
          ("standard", 32): {"features": 205, "gradients": 150, "predictions": 22}}


@pytest.fixture
def counted(demo, prompts):
    """Runs a preset on the demo model; returns its report and the rows that went through the network."""
    from mental_averages.dma.alignment import align
    from mental_averages.nodes import comfyui

    def run(name, count):
        rows = {"features": 0, "gradients": 0, "predictions": 0}
        reports = []

        def work(denoiser):
            features, denoise = denoiser.features, denoiser.denoise

            def counting_features(x, sigma):
                found = features(x, sigma)
                rows["features"] += len(x)
                if found.requires_grad:
                    found.register_hook(lambda gradient: rows.__setitem__("gradients",
                                                                          rows["gradients"] + len(gradient)))
                return found

            def counting_denoise(x, sigma):
                rows["predictions"] += len(x)
                return denoise(x, sigma)

            denoiser.features, denoiser.denoise = counting_features, counting_denoise
            settings = PRESETS[name].apply(AlignmentSettings(count=count, keep=1, seed=4), 12)
            result = align(denoiser, sigmas, (4, 8, 8), settings)
            reports.append(result.report)
            return result.latents

        with torch.inference_mode():
            sigmas = comfyui.sigmas_of(demo[0], "ddim_uniform", 12)
            comfyui.with_denoiser(demo[0], *prompts, 7.0, sigmas, (4, 8, 8), 0, work)
        return reports[0], rows

    return run


@pytest.mark.parametrize("name, count", LIMITS)
def test_a_preset_needs_no_more_passes_than_it_did(counted, name, count, monkeypatch):

    # Previews depend on the clock.
    from mental_averages.dma.alignment import _align
    monkeypatch.setattr(_align, "SECONDS_BETWEEN_PREVIEWS", float("inf"))
    report, rows = counted(name, count)
    for kind, limit in LIMITS[name, count].items():
        assert rows[kind] <= limit, f"{name}: {rows[kind]} {kind}, at most {limit} before"
    # Where latents leave a batch one by one, the batch runs a few gradients more than they need.
    assert sum(step.mean_count + sum(step.forwards) for step in report.steps) <= rows["features"]
    # Cheap must not mean that nothing was aligned: most of what was between the latents and the mean is gone.
    final = report.steps[-1]
    assert sum(final.residual_after) / len(final.residual_after) < 0.05


def test_a_new_node_has_the_values_of_the_standard_preset(demo, prompts):
    from mental_averages.nodes.alignment import AlignTrajectories, make_solver

    defaults = {given.id: getattr(given, "default", None) for given in AlignTrajectories.GET_SCHEMA().inputs}
    standard = PRESETS["standard"]
    assert make_solver(*(defaults[name] for name in ("solver", "learning_rate", "iterations", "tolerance",
                                                     "plateau"))) == standard.solver
    assert all(defaults[name] == getattr(standard, name)
               for name in ("aligned_steps", "carried", "own_noise", "mean_error"))
    assert defaults["preset"] == "custom"


def run_node(demo, prompts, **change):
    from mental_averages.nodes.alignment import AlignTrajectories
    from mental_averages.nodes.hspace import HSpaceHook

    arguments = dict(count=16, steps=3, aligned_steps=2, iterations=2, learning_rate=0.02, cfg=4.0, scheduler="normal",
                     seed=1, keep=2, resume=False)
    with torch.inference_mode():
        hspace = HSpaceHook.execute(demo[0], "auto", "none").args[0]
        return AlignTrajectories.execute(hspace, *prompts, {"samples": torch.zeros(1, 4, 8, 8)},
                                         **{**arguments, **change}).args


def test_a_preset_of_the_node_is_that_of_the_library_whatever_the_widgets_say(demo, prompts):
    import dataclasses

    preset = PRESETS["draft"]
    latent, report = run_node(demo, prompts, preset="draft", carried=5, mean_error=0.3, own_noise=0.8)
    assert report.settings["solver"] == dataclasses.asdict(preset.solver) and report.settings["preset"] == "draft"
    assert all(report.settings[name] == getattr(preset, name)
               for name in ("aligned_steps", "carried", "own_noise", "mean_error"))
    assert len(report.steps) == 1 and report.settings["count"] == 16 and latent["samples"].shape == (1, 4, 8, 8)


@pytest.mark.parametrize("solver, name", [("L-BFGS", "LBFGS"), ("Gauss-Newton", "GaussNewton")])
def test_widgets_choose_the_solver_and_lower_the_residual_on_the_real_model(demo, prompts, solver, name):
    _, report = run_node(demo, prompts, solver=solver, plateau=0.01, carried=2, own_noise=0.5, aligned_steps=1)
    assert report.settings["solver_name"] == name and report.settings["solver"]["plateau"] == 0.01
    assert all(after < 0.8 * before
               for before, after in zip(report.steps[0].residual_before, report.steps[0].residual_after))
