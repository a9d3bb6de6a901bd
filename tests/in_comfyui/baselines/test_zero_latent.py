"""ZeroLatent, inside inference mode as ComfyUI runs it."""
import torch


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
