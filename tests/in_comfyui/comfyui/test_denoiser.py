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
