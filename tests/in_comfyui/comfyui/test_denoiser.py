"""The Denoiser of a ComfyUI MODEL against an ordinary prediction."""
import pytest
import torch

import pack

LEVELS = torch.tensor([5.0, 0.0])


def test_rows_are_independent_and_features_match_the_whole_forward_pass(bridge, demo, prompts):
    """Early exit changes nothing: the same features as a hook sees in an ordinary prediction."""
    found = {}

    def function(denoiser):
        x = 3 * torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        together = denoiser.features(x, 3.0)
        alone = torch.cat([denoiser.features(row[None], 3.0) for row in x])
        seen = []
        hook = demo[
            0].model.diffusion_model.middle_block[-1].register_forward_hook(lambda module, inputs, output: seen.append(
                output))
        denoiser.denoise(x, 3.0)
        hook.remove()
        found.update(together=together, alone=alone, seen=torch.cat(seen))
        return x[:1]

    bridge.with_denoiser(demo[0], *prompts, 4.0, LEVELS, (4, 8, 8), 0, function)
    torch.testing.assert_close(found["alone"], found["together"], rtol=1e-4, atol=1e-4)
    distances = (found["seen"].flatten(1)[:, None] - found["together"].flatten(1)[None]).norm(dim=2)
    assert distances.min(dim=0).values.max() < 1e-3 * found["together"].norm()


def test_prompt_scheduling_is_honoured_and_an_empty_range_is_explained(bridge, demo):
    early = pack.encode_prompt(demo[1], "cat")
    late = [[early[0][0], {**early[0][1], "start_percent": 0.9, "end_percent": 1.0}]]
    with pytest.raises(ValueError, match="active at noise level"):
        bridge.with_denoiser(demo[0], late, early, 4.0, LEVELS, (4, 8, 8), 0,
                         lambda denoiser: denoiser.features(torch.zeros(1, 4, 8, 8), 14.0))


BLOCKS = 4  # of the small U-Net, with attention to prompts


class Carrying:
    """A patch of blocks that carries something from one to the next, and forgets it when it is moved, as core's
    ControlNets of blocks do; `fails_at` is the block at which memory runs out once."""

    def __init__(self, fails_at):
        self.fails_at, self.carried = fails_at, 0.0

    def to(self, device):
        self.carried = 0.0
        return self

    def __call__(self, q, k, v, options):
        if self.carried == self.fails_at:
            self.fails_at = None
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        q, self.carried = q * (1 + self.carried), self.carried + 1
        if self.carried == BLOCKS:
            self.carried = 0.0
        return q, k, v


def test_a_pass_that_ran_out_of_memory_leaves_nothing_in_patches(bridge, unet):
    from core_predictions import prompts

    from mental_averages.dma.diffusion import sample
    from mental_averages.dma.execution import BatchSize

    x = torch.randn((4, 4, 6, 4), generator=torch.Generator().manual_seed(4))

    def by_us(fails_at):
        patched = unet.clone()
        patched.set_model_attn2_patch(carrying := Carrying(fails_at))
        found = bridge.with_denoiser(patched, *prompts(), 4.0, torch.tensor([5.0, 0.0]), (4, 6, 4), 0,
                                     lambda denoiser: sample(denoiser, x, torch.tensor([5.0, 0.0]),
                                                             batch=BatchSize(4)), layer=None, gradients=False)
        assert carrying.carried == 0
        return found

    torch.testing.assert_close(by_us(1.0), by_us(None), rtol=1e-4, atol=1e-4)
