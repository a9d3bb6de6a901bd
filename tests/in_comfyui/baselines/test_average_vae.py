"""AverageVAE on the demo VAE, inside inference mode as ComfyUI runs it."""
import pytest
import torch


def test_it_is_the_mean_of_what_core_encodes(demo):
    from mental_averages.nodes.baselines import AverageVAE

    vae, images = demo[2], torch.rand(3, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        image, latent = AverageVAE.execute(images, vae).args
        expected = torch.cat([vae.encode(each[None]) for each in images]).mean(0, keepdim=True)
        torch.testing.assert_close(latent["samples"], expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(image, vae.decode(expected), rtol=0, atol=1e-4)
        # One picture comes back as it does from its latent, and an alpha channel is left out.
        with_alpha = torch.cat([images[:1], torch.zeros(1, 64, 64, 1)], dim=3)
        torch.testing.assert_close(AverageVAE.execute(with_alpha, vae).args[0], vae.decode(vae.encode(images[:1])),
                                   rtol=0, atol=1e-5)


def test_bad_inputs(demo):
    from mental_averages.nodes.baselines import AverageVAE

    with pytest.raises(ValueError, match="has no VAE"):
        AverageVAE.execute(torch.rand(2, 64, 64, 3), None)
    with pytest.raises(ValueError, match="empty batch"):
        AverageVAE.execute(torch.rand(0, 64, 64, 3), demo[2])
