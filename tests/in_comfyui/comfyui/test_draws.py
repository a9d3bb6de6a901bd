"""What patches draw from PyTorch's global generators: the same for one seed, however a run is divided."""
import pytest
import torch
from core_predictions import prompts
from inversions import invert, method, relative, sample

SHAPE = (4, 32, 32)
EMPTY = {"samples": torch.zeros(1, *SHAPE)}


@pytest.fixture(scope="module")
def tiled(unet):
    """The small U-Net with core's HyperTile, which draws the size of its tiles at every attention."""
    from comfy_extras.nodes_hypertile import HyperTile

    with torch.inference_mode():
        return HyperTile.execute(unet, 32, 3, 1, False)[0]


@pytest.fixture
def hspace(tiled):
    from mental_averages.nodes.comfyui import HSpace

    return HSpace(tiled, "middle_block", "none")


def zero(model, seed, noise_scale=1.0):
    from mental_averages.nodes.baselines import ZeroLatent

    with torch.inference_mode():
        return ZeroLatent.execute(model, *prompts(), EMPTY, 4, 4.0, "normal", noise_scale, seed).args[0]["samples"]


def aligned(hspace, **change):
    from alignments import run_align

    arguments = {**dict(count=3, steps=4, iterations=2, keep=3), **change}
    return run_align(hspace, prompts(), EMPTY, **arguments)[0]["samples"]


def test_zero_latent_is_a_ksamplers_for_one_seed(tiled, unet):
    import nodes

    first = zero(tiled, 7)
    torch.rand(5)  # whatever the user has drawn since
    assert torch.equal(zero(tiled, 7), first)
    with torch.inference_mode():
        (core,) = nodes.common_ksampler(tiled, 7, 4, 4.0, "euler", "normal", *prompts(), EMPTY)  # "ddim" seeds anew
    torch.testing.assert_close(first, core["samples"], rtol=1e-3, atol=1e-3)
    assert relative(first, zero(unet, 7)) > 1e-3  # the tiles are seen
    shrunken = zero(tiled, 3, 0.0)
    torch.rand(5)
    assert torch.equal(zero(tiled, 3, 0.0), shrunken)


def test_generators_are_left_as_they_were(tiled, hspace):
    torch.manual_seed(11)
    expected = torch.rand(3)
    for work in (lambda: zero(tiled, 7), lambda: aligned(hspace, aligned_steps=1),
                 lambda: sample(tiled, prompts(), EMPTY, steps=2)):
        torch.manual_seed(11)
        work()
        assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("change, allowed", [(dict(aligned_steps=0), 1e-4),
                                             (dict(aligned_steps=2, solver="L-BFGS"), 5e-4)])
def test_an_alignment_does_not_depend_on_its_batches(hspace, change, allowed):
    together, alone = (aligned(hspace, batch_size=size, **change) for size in (3, 1))
    assert relative(alone, together) < allowed


def test_the_loss_of_a_match_has_its_gradient(bridge, tiled):
    """A block checkpoint draws again what its block drew."""
    from mental_averages.dma.models import gradient_error

    found = {}

    def run(denoiser):
        x, direction = torch.randn((2, 1, *SHAPE), generator=torch.Generator().manual_seed(0))
        found[len(found)] = denoiser.features(5 * x, 5.0), denoiser.features(5 * x, 5.0)
        leaf = (5 * x).requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(denoiser.features(leaf, 5.0).square().sum(), leaf)
        found[len(found)] = gradient
        assert gradient_error(denoiser, 5 * x, direction, 5.0) < 0.01

    for save_memory in (False, True):
        bridge.with_denoiser(tiled, *prompts(), 1.0, torch.tensor([5.0, 0.0]), SHAPE, 0, run, "output_blocks.3",
                             save_memory=save_memory)
    assert torch.equal(*found[0]) and torch.equal(found[0][0], found[2][0])
    torch.testing.assert_close(found[1], found[3], rtol=1e-4, atol=1e-6)


def test_a_state_is_found_again(hspace, folders):
    from stopping import Calls, saved_states

    from mental_averages.nodes.comfyui import HSpace

    reference = aligned(hspace, batch_size=1)
    calls = Calls(hspace.model)
    counted = HSpace(calls.model, hspace.layer, hspace.pooling)
    stopped = calls.stop_when(lambda count: [state["step"] for state in saved_states(folders).values()] == [1])
    with pytest.raises(stopped):
        aligned(counted, batch_size=1, resume=True)
    whole, _ = calls.during(aligned, counted, batch_size=1)
    left, resumed = calls.during(aligned, counted, batch_size=1, resume=True)
    assert left < whole and relative(resumed, reference) < 1e-5


@pytest.mark.parametrize("name", ["ddim", "exact"])
def test_the_way_back_of_an_inversion_draws_what_the_way_up_drew(tiled, name):
    latent = {"samples": 3 * torch.randn((2, *SHAPE), generator=torch.Generator().manual_seed(4))}
    noise, trajectory, report = invert(tiled, prompts(), latent, name, steps=4, method=method(name))
    torch.rand(5)
    back = sample(tiled, prompts(), noise, steps=4, trajectory=trajectory)["samples"]
    for row in range(2):
        assert relative(back[row], latent["samples"][row]) == pytest.approx(report.round_trip.relative[row], rel=2e-2,
                                                                            abs=2e-4)
    alone = invert(tiled, prompts(), {"samples": latent["samples"][1:]}, name, steps=4, method=method(name))[0]
    torch.testing.assert_close(alone["samples"][0], noise["samples"][1], rtol=1e-3, atol=1e-3)


def test_the_sampler_draws_by_level_and_leaves_the_generators(tiled):
    import comfy_extras.nodes_custom_sampler as core

    from mental_averages.nodes import comfyui
    from mental_averages.nodes.inversion import DDIMSamplerSelect

    def up(count):
        latent = {"samples": 3 * torch.randn((1, *SHAPE), generator=torch.Generator().manual_seed(4)).repeat(count, 1,
                                                                                                          1, 1)}
        with torch.inference_mode():
            guider = core.BasicGuider.execute(tiled, prompts()[0]).args[0]
            return core.SamplerCustomAdvanced.execute(
                core.DisableNoise.execute().args[0], guider, DDIMSamplerSelect.execute(method("ddim")).args[0],
                comfyui.sigmas_of(tiled, "simple", 4).flip(0), latent).args[0]["samples"]

    torch.manual_seed(11)
    first = up(1)
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(11)))
    many = up(20)  # in several micro-batches
    torch.testing.assert_close(many[-1:], first, rtol=1e-3, atol=1e-3)
