"""Matching and null-text in 16 bits through real MODELs, with as many values as real models have, and as large ones.

In fp16 a number below 6e-8 is zero. The gradient of a residual by hundreds of thousands of features is smaller, so that
a solver stops where it stands unless backward passes are scaled (`dma/loss_scale.py`). The self-test alone cannot tell:
what enters its backward pass is of order one.
"""
import pytest
import torch
from small_models import MODELS

from mental_averages.dma.diffusion import paper_scale
from mental_averages.dma.models import check_gradient
from mental_averages.dma.solvers import LBFGS, Adam, GaussNewton

SIZE, DEPTH, SIGMA = 64, 4, 0.6  # 1024 tokens of width 256, which are 262,144 features
SMALL = MODELS["SD3"]
LARGE = dict(depth=DEPTH, pos_embed_max_size=SIZE // 2, num_patches=(SIZE // 2) ** 2, context_embedder_config=dict(
    target="torch.nn.Linear", params=dict(in_features=16, out_features=64 * DEPTH)))
# Root mean squares of the features of SD3.5-medium in the middle and late.
MIDDLE, LATE = 16.0, 54.0


def matched(dtype, size, solver):
    """The residual that a solver reaches on features of a root mean square, and the self-test's error."""
    from mental_averages.nodes import comfyui

    model, weight = SMALL.build(dtype, **LARGE).clone(), "diffusion_model.x_embedder.proj.weight"
    # Blocks add to what the embedder gives, so the features of the last one grow with it.
    model.add_patches({weight: ("diff", ((size - 1) * model.model.state_dict()[weight].float(),))}, 1.0)
    shape, noise = (16, SIZE, SIZE), torch.randn((2, 16, SIZE, SIZE), generator=torch.Generator().manual_seed(1))

    def run(denoiser):
        scale = paper_scale(denoiser.parametrization, SIGMA)
        with torch.no_grad():
            target = denoiser.features(noise[1:] / scale, SIGMA)[0]  # another latent's, so that it can be reached
        assert target.numel() == 262_144
        assert target.square().mean().sqrt().item() == pytest.approx(size, rel=0.1)
        error = check_gradient(denoiser, shape, SIGMA)
        found = solver.solve(lambda z: denoiser.features(z / scale, SIGMA), noise[:1], target)
        return found.residual_after.item(), error

    return comfyui.with_denoiser(model, SMALL.conditioning(1), SMALL.conditioning(2), 1.0, torch.tensor([SIGMA, 0.0]),
                                 shape, 0, run)


# fp32 comes to 2e-7, 1e-7, 1e-7 and 3e-7. Without scaling fp16 ends at 6e-4 and 7e-3 with L-BFGS, and at 2, where it
# began, with Gauss-Newton.
@pytest.mark.parametrize("dtype, size, solver", [
    (torch.bfloat16, LATE, LBFGS(iterations=12)), (torch.float16, MIDDLE, LBFGS(iterations=12)),
    (torch.float16, LATE, LBFGS(iterations=12)), (torch.float16, LATE, GaussNewton(iterations=2))])
def test_comes_to_what_rounding_leaves(comfyui, dtype, size, solver):
    """Which is a few times the square of the type's step from 1 to the next number."""
    reached, error = matched(dtype, size, solver)
    assert reached < 1e-6 + 4 * torch.finfo(dtype).eps ** 2
    assert error < 0.01


def test_adam_comes_as_far_as_in_single_precision(comfyui):
    """It goes by the signs of gradients at first, so that what is lost shows only when many of them are zero."""
    reached, expected = (matched(dtype, LATE, Adam(learning_rate=0.3, iterations=12))[0]
                         for dtype in (torch.float16, torch.float32))
    assert reached < 1.02 * expected


def test_null_text_comes_as_far_as_in_single_precision(comfyui):
    """Of two prompts that are nearly the same, whose difference is what guidance loses on the way back."""
    gained = {dtype: lost_on_the_way_back(dtype, 0) - lost_on_the_way_back(dtype, 4)
              for dtype in (torch.float32, torch.float16)}
    assert gained[torch.float32] > 0.02
    assert gained[torch.float16] == pytest.approx(gained[torch.float32], rel=0.1)


def lost_on_the_way_back(dtype, iterations):
    """The relative error of a latent that DDIMInvert has inverted with null-text, after so many iterations a step."""
    from mental_averages.nodes.inversion import DDIMInvert

    small, weight = MODELS["SD1.5"], "diffusion_model.out.2.weight"
    model = small.build(dtype).clone()
    model.add_patches({weight: ("diff", (-0.9 * model.model.state_dict()[weight].float(),))}, 1.0)
    (positive, options), (other, _) = small.conditioning(1)[0], small.conditioning(2)[0]
    latent = {"samples": torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(4))}
    with torch.inference_mode():
        report = DDIMInvert.execute(
            model, [[positive, options]], latent, 2, "simple", 5.0,
            {"method": "null_text", "iterations": iterations, "learning_rate": 0.005},
            [[positive + 0.02 * other, dict(options)]]).args[2]
    return report.round_trip.relative[0]
