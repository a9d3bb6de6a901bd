"""CaptureHSpace, and MedoidSelect on its features."""
import torch


def test_capture_and_medoid(demo, hspace, prompts, folders):
    from mental_averages.dma.hspace import load_features
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
    saved = load_features(folders / "output" / "captured" / "heart_00001_.safetensors")
    torch.testing.assert_close(saved.values, features.values, rtol=0, atol=0)
