"""Prompts that carry numbers, as those of ConditioningSetTimestepRange, FluxGuidance and SDXL's text encode do, through
every node that keeps a state on disk under a key of its prompts."""
import pytest
import torch


@pytest.fixture
def numbered(prompts):
    """The prompts with a range of the schedule that holds all of it, so that nothing but the numbers is new."""
    import nodes

    def ranged(conditioning, start=0.0, end=1.0):
        return nodes.ConditioningSetTimestepRange().set_range(conditioning, start, end)[0]

    return ranged(prompts[0]), ranged(prompts[1])


@pytest.fixture
def hspace(demo):
    from mental_averages.nodes.hspace import HSpaceHook

    return HSpaceHook.execute(demo[0], "auto", "none").args[0]


@pytest.fixture
def samples():
    return {"samples": torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))}


def align(hspace, positive, negative, latent):
    from mental_averages.nodes.alignment import AlignTrajectories

    return AlignTrajectories.execute(hspace, positive, negative, latent, 2, 4, 1, 3, 0.02, 4.0, "normal", 1, 1,
                                     resume=True).args


def test_align_trajectories(hspace, prompts, numbered, empty_latent, folders):
    with torch.inference_mode():
        plain, ranged = align(hspace, *prompts, empty_latent)[0], align(hspace, *numbered, empty_latent)[0]
    torch.testing.assert_close(ranged["samples"], plain["samples"])


def test_align_mixture_modes(hspace, numbered, samples, folders):
    from mental_averages.nodes.alignment import AlignMixtureModes

    with torch.inference_mode():
        latents = AlignMixtureModes.execute(hspace, *numbered, samples, 3, {"components": "fixed", "modes": 1}, 4, 1,
                                            3.0, "normal", 0, "draft", 0.3, samples=samples, minimum_size=1).args[0]
    assert torch.isfinite(latents["samples"]).all()


def test_train_mode_lora(demo, numbered, samples, folders):
    from mental_averages.nodes.training import TrainModeLoRA

    with torch.inference_mode():
        report = TrainModeLoRA.execute(demo[0], samples, numbered[0], 2, 1e-4, 1, 0, preview_interval=0).args[3]
    assert len(report.losses) == 2


def test_semantic_layer_probe(demo, numbered, empty_latent, folders):
    from mental_averages.nodes.hspace import SemanticLayerProbe

    with torch.inference_mode():
        report = SemanticLayerProbe.execute(demo[0], {"prompts0": numbered[0], "prompts1": numbered[1]}, numbered[1],
                                            empty_latent, 4, "0", 4, 4.0, "normal", 0, "none", layers="middle_block",
                                            matched=0).args[3]
    assert report.chosen == "middle_block"
