"""What core's own guider predicts, to compare a Denoiser's predictions and features with."""
import torch
from small_models import MODELS

SHAPE, SIGMA = (4, 6, 4), 5.0


def noise(shape, sigma=SIGMA):
    return sigma * torch.randn((2, *shape), generator=torch.Generator().manual_seed(0))


def by_core(model, positive, negative, guidance, sigma, shape, layer=None):
    """Core's own prediction, under inference mode as in a KSampler, and the last thing `layer` returned meanwhile."""
    import comfy.samplers

    found, read = [], []

    class Once(comfy.samplers.Sampler):
        def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None,
                   disable_pbar=False):
            found.append(model_wrap(noise_of_ours, torch.full((2,), sigma), **extra_args))
            return noise

    noise_of_ours = noise(shape, sigma)
    hook = layer.register_forward_hook(lambda module, inputs, output: read.append(output.clone())) if layer else None
    with torch.inference_mode():
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(positive, negative)
        guider.set_cfg(guidance)
        guider.sample(noise_of_ours.clone(), torch.zeros_like(noise_of_ours), Once(), torch.tensor([sigma, 0.0]),
                      seed=0)
    if hook:
        hook.remove()
    return found[0], read[-1] if read else None


def by_us(bridge, model, positive, negative, guidance, sigma, shape, layer):
    from mental_averages.dma.models import gradient_error

    found = []

    def run(denoiser):
        x = noise(shape, sigma)
        with torch.no_grad():
            features = denoiser.features(x, sigma)
        found.append((denoiser.denoise(x, sigma), features, gradient_error(denoiser, x[:1], x[1:], sigma)))
        return x[:1]

    bridge.with_denoiser(model, positive, negative, guidance, torch.tensor([sigma, 0.0]), shape, 0, run, layer)
    return found[0]


def compare(bridge, model, positive, negative, guidance=7.0, sigma=SIGMA, shape=SHAPE, layer="output_blocks.3"):
    from mental_averages.nodes import comfyui

    module = comfyui.places(model.model.diffusion_model)[layer].module
    for scale in (guidance, 1.0):
        expected, read = by_core(model, positive, negative, scale, sigma, shape, module)
        denoised, features, error = by_us(bridge, model, positive, negative, scale, sigma, shape, layer)
        assert torch.equal(denoised, expected)
    # With guidance 1 core leaves the negative prompt out, so what was read last is the positive prompt alone.
    if len(positive) == 1:
        torch.testing.assert_close(features, read, rtol=1e-4, atol=1e-5)
    assert error < 0.01
    return features


def prompts(name="SD1.5"):
    return MODELS[name].conditioning(1), MODELS[name].conditioning(2)


def with_option(conditioning, **options):
    return [[tensor, {**found, **options}] for tensor, found in conditioning]
