"""A MODEL that core has put on several devices (MultiGPU CFG Split): here the processor, under two names."""
import threading

import pytest
import torch

LEVELS = torch.tensor([5.0, 2.0, 0.0])
SHAPE = (4, 8, 8)


@pytest.fixture(scope="module")
def split(demo):
    """(MODEL, its network, that of the other device): as core's node makes it, which looks for cards itself."""
    import comfy.multigpu

    model = demo[0].clone()
    # Not under inference mode: on its way to a card every weight is copied, but not from one name to the other.
    other = model.deepclone_multigpu(torch.device("cpu", 0))
    other.is_multigpu_base_clone = True
    model.set_additional_models("multigpu", [other])
    model.match_multigpu_clones()
    comfy.multigpu.GPUOptionsGroup().register(model)
    networks = model.model.diffusion_model, other.model.diffusion_model
    assert networks[0] is not networks[1]
    return model, *networks


@pytest.fixture
def calls(split):
    """Of each network the threads that it is called in, once for each call."""
    found, hooks = ([], []), []
    for network, threads in zip(split[1:], found):
        hooks.append(network.register_forward_pre_hook(
            lambda *_, threads=threads: threads.append(threading.get_ident())))
    yield found
    for hook in hooks:
        hook.remove()


def asked(bridge, model, prompts, ask):
    """What a Denoiser of the MODEL answers."""
    found = []

    def function(denoiser):
        found.append(ask(denoiser, 3 * torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))))

    bridge.with_denoiser(model, *prompts, 4.0, LEVELS, SHAPE, 0, function)
    return found[0]


def test_the_sides_of_guidance_are_predicted_on_a_device_each_and_at_once(bridge, demo, prompts, split, calls):
    def ask(denoiser, x):
        return denoiser.denoise(x, 3.0)

    there = asked(bridge, split[0], prompts, ask)
    assert [len(threads) for threads in calls] == [1, 1]
    assert len({*calls[0], *calls[1], threading.get_ident()}) == 3
    torch.testing.assert_close(there, asked(bridge, demo[0], prompts, ask), rtol=1e-4, atol=1e-4)


def test_features_and_their_gradients_are_of_the_first_device_to_the_last_bit(bridge, demo, prompts, split, calls):
    def ask(denoiser, x):
        x = x.requires_grad_()
        with torch.enable_grad():
            features = denoiser.features(x, 3.0)
            return features.detach(), torch.autograd.grad(features.square().sum(), x)[0]

    there = asked(bridge, split[0], prompts, ask)
    assert calls[0] and not calls[1]
    for one, other in zip(there, asked(bridge, demo[0], prompts, ask)):
        assert torch.equal(one, other)


def test_an_alignment_and_a_mean_shift_are_split_where_they_predict(demo, prompts, empty_latent, split, calls):
    from mental_averages.nodes.alignment import AlignTrajectories
    from mental_averages.nodes.hspace import HSpaceHook
    from mental_averages.nodes.mean_shift import MentalAverage

    def aligned(model):
        hspace = HSpaceHook.execute(model, "auto", "none").args[0]
        return AlignTrajectories.execute(hspace, *prompts, empty_latent, {"preset": "draft"}, 4, 6, 4.0,
                                         "ddim_uniform", 1, batch_size=4, resume=False).args[0]

    def shifted(model):
        return MentalAverage.execute(model, prompts[0], empty_latent, 4, 6, 2, 4.0, "ddim_uniform", 1,
                                     negative=prompts[1], batch_size=4, resume=False).args[0]

    for run in (aligned, shifted):
        before = len(calls[1])
        there = run(split[0])["samples"]
        assert len(calls[1]) > before
        torch.testing.assert_close(there, run(demo[0])["samples"], rtol=1e-2, atol=1e-2)
