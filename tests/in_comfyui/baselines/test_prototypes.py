"""D4MPrototype and MGD3Prototype on the demo model, inside inference mode as ComfyUI runs them."""
import pytest
import torch

STEPS = dict(steps=6, cfg=4.0, scheduler="normal")


def d4m(model, prompts, samples, strength=0.7, seed=0, **further):
    from mental_averages.nodes.baselines import D4MPrototype

    with torch.inference_mode():
        return D4MPrototype.execute(model, *prompts, samples, strength, seed=seed, **{**STEPS, **further}).args


def mgd3(model, prompts, samples, strength=0.1, seed=0, **further):
    from mental_averages.nodes.baselines import MGD3Prototype

    with torch.inference_mode():
        return MGD3Prototype.execute(model, *prompts, samples, strength, seed=seed, **{**STEPS, **further}).args


def test_d4m_is_cores_image_to_image_from_the_mean(demo, prompts, samples):
    """A KSampler whose steps are those that are left, from the same latent and noise."""
    import nodes

    from mental_averages.dma.diffusion import salted_seed

    latent, centroids = d4m(demo[0], prompts, samples, strength=0.5, seed=7)
    mean = samples["samples"].mean(0, keepdim=True)
    torch.testing.assert_close(centroids["samples"], mean, rtol=0, atol=1e-5)
    with torch.inference_mode():
        (core,) = nodes.KSamplerAdvanced().sample(demo[0], "enable", salted_seed(7, "D4M"), 6, 4.0, "ddim", "normal",
                                                  *prompts, {"samples": mean}, 3, 6, "disable")
    torch.testing.assert_close(latent["samples"], core["samples"], rtol=1e-3, atol=1e-3)


def test_d4m_at_strength_0_is_the_centroid(demo, prompts, samples):
    latent, centroids = d4m(demo[0], prompts, samples, strength=0.0)
    torch.testing.assert_close(latent["samples"], centroids["samples"], rtol=0, atol=1e-6)


def test_mode_guidance_of_0_samples_without_the_latents(demo, prompts, samples):
    plain = mgd3(demo[0], prompts, samples, strength=0.0, seed=3)[0]["samples"]
    other = {"samples": samples["samples"].flip(1)}
    torch.testing.assert_close(mgd3(demo[0], prompts, other, strength=0.0, seed=3)[0]["samples"], plain)
    unguided = mgd3(demo[0], prompts, samples, seed=3, guided_share=0.0)[0]["samples"]
    torch.testing.assert_close(unguided, plain)
    guided, modes = (latent["samples"] for latent in mgd3(demo[0], prompts, samples, strength=1.0, seed=3))
    torch.testing.assert_close(modes, samples["samples"].mean(0, keepdim=True), rtol=0, atol=1e-5)
    assert (guided - modes).norm() < (plain - modes).norm()


@pytest.mark.parametrize("prototype", [d4m, mgd3])
def test_a_picture_for_each_cluster_and_other_seeds(demo, prompts, prototype):
    groups = torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0])[:, None, None, None]
    latents = {"samples": groups + 0.01 * torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(1))}
    latent, centroids = prototype(demo[0], prompts, latents, clusters=2)
    assert latent["samples"].shape == (2, 4, 8, 8) and latent["samples"].isfinite().all()
    torch.testing.assert_close(centroids["samples"].mean(dim=(1, 2, 3)), torch.tensor([1.0, -1.0]), rtol=0, atol=0.01)
    again, other = (prototype(demo[0], prompts, latents, clusters=2, seed=seed)[0]["samples"] for seed in (0, 1))
    torch.testing.assert_close(again, latent["samples"])
    assert not torch.allclose(other, again)


@pytest.mark.parametrize("prototype", [d4m, mgd3])
def test_bad_inputs(demo, prompts, samples, prototype):
    with pytest.raises(ValueError, match="latents is an empty latent"):
        prototype(demo[0], prompts, {"samples": torch.zeros(3, 4, 8, 8)})
    with pytest.raises(ValueError, match="clusters is 4, but there are only 3 latents"):
        prototype(demo[0], prompts, samples, clusters=4)
    with pytest.raises(ValueError, match="3 centroids need at least as many different latents, but there are 1"):
        prototype(demo[0], prompts, {"samples": torch.ones(3, 4, 8, 8)}, clusters=3)
    with pytest.raises(ValueError, match="NaN"):
        prototype(demo[0], prompts, {"samples": torch.full((3, 4, 8, 8), float("nan"))})
    with pytest.raises(ValueError, match="16 channels"):
        prototype(demo[0], prompts, {"samples": torch.ones(3, 16, 8, 8)})


@pytest.mark.parametrize("name", ["SD1.5", "SD3", "Flux"])
@pytest.mark.parametrize("prototype", [d4m, mgd3])
def test_other_architectures(built, prototype, name):
    from small_models import MODELS

    model, kind = built(name), MODELS[name]
    channels = model.model.latent_format.latent_channels
    latents = {"samples": torch.randn(3, channels, 8, 8, generator=torch.Generator().manual_seed(2))}
    latent, _ = prototype(model, (kind.conditioning(1), kind.conditioning(2)), latents, cfg=1.0)
    assert latent["samples"].shape == (1, channels, 8, 8) and latent["samples"].isfinite().all()
