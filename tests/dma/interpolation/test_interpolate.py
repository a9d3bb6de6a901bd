import math

import pytest
import torch
from hypothesis import given, strategies as st
from noise_latents import (
    SHAPE,
    any_method,
    any_split,
    mix,
    mixture_of,
    noise,
    norms,
    random_weights,
    separate,
    thorough,
)

from mental_averages.dma import interpolation
from mental_averages.dma.interpolation import MEAN_ADJUSTMENTS, METHODS, interpolate

reproducing = pytest.mark.parametrize("method", [method for method in METHODS if method != "fix"])


@reproducing
@thorough
@given(seed=st.integers(0, 10**6), count=st.integers(1, 5), scale=st.floats(0.1, 3), split=any_split)
def test_one_hot_weights_give_the_input_to_the_last_bit(method, seed, count, scale, split):
    latents = noise(count, seed, scale=scale)
    assert torch.equal(mix(latents, torch.eye(count), method, split), latents)


@thorough
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 0.9), split=any_split)
def test_fix_does_not_reproduce_inputs_off_the_shell(seed, scale, split):
    latents = noise(2, seed, scale=scale)
    assert (mix(latents, torch.eye(2), "fix", split) - latents).norm() > 0.02 * latents.norm()


@thorough
@given(seed=st.integers(0, 10**6), count=st.integers(1, 6), method=any_method, split=any_split)
def test_the_order_of_inputs_has_no_effect(seed, count, method, split):
    latents, weights = noise(count, seed), random_weights(count, seed)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(mix(latents[order], weights[:, order], method, split),
                               mix(latents, weights, method, split), rtol=1e-5, atol=1e-5)


@thorough
@given(seed=st.integers(0, 10**6), count=st.integers(2, 5), method=any_method, split=any_split)
def test_small_changes_of_weights_make_small_changes(seed, count, method, split):
    """Near an input and in the middle; the noise part of these latents never cancels."""
    latents = noise(count, seed, scale=0.8)
    towards = random_weights(count, seed + 1)
    for start in (torch.eye(count, dtype=torch.float64)[:1], random_weights(count, seed)):
        steps = torch.tensor([0.0, 1e-6, 1e-4])[:, None].double()
        path = mix(latents, (1 - steps) * start + steps * towards, method, split)
        assert (path[1] - path[0]).norm() < 1e-4 * path[0].norm()
        assert (path[2] - path[0]).norm() < 1e-2 * path[0].norm()


@thorough
@given(seed=st.integers(0, 10**6), count=st.integers(2, 6), split=any_split, scale=st.floats(0.5, 1.5))
def test_norms_of_the_noise_part_are_those_of_the_equations(seed, count, split, scale):
    latents, weights = noise(count, seed, scale=scale), random_weights(count, seed)
    deterministic, parts = separate(latents.double(), split)
    torch.testing.assert_close(deterministic + parts, latents.double())
    target = interpolation.nominal_norm(SHAPE, split[0], low_pass_width=split[1])
    linear = (weights @ parts.flatten(1)).norm()
    energy = (weights @ norms(parts).square()).item()
    expected = {"lin": linear, "fix": target, "nin": (weights @ norms(parts)).item(),
                "lol": linear / weights.square().sum().sqrt(),
                "restored_variance": math.sqrt(linear**2 + target**2 * (energy - linear**2) / energy)}
    kept = (weights @ deterministic.flatten(1)).reshape(1, *SHAPE)
    for method, norm in expected.items():
        mixture = mixture_of(latents, weights, method, split)
        assert norms(mixture.latents.double() - kept).item() == pytest.approx(float(norm), rel=1e-4)
        assert mixture.amplification.item() == pytest.approx(float(norm / linear), rel=1e-9)
        assert mixture.latents.dtype == torch.float32


@thorough
@given(seed=st.integers(0, 10**6), share=st.floats(0, 1),
       method=st.sampled_from(["lin", "fix", "nin", "restored_variance"]))
def test_a_copy_of_an_input_has_no_effect_but_on_lol(seed, share, method):
    latents, weights = noise(3, seed), random_weights(3, seed)
    copied = torch.cat([latents, latents[:1]])
    divided = torch.cat([weights, (1 - share) * weights[:, :1]], dim=1)
    divided[:, 0] *= share
    torch.testing.assert_close(mix(copied, divided, method), mix(latents, weights, method), rtol=1e-5, atol=1e-5)
    twice = mix(latents[[0, 0]], torch.tensor([[0.5, 0.5]]), "lol", ("none", math.inf))
    torch.testing.assert_close(twice, math.sqrt(2) * latents[:1])


@pytest.mark.parametrize("count", [4, 16, 64])
def test_amplification_of_independent_noise_is_the_square_root_of_their_number(count):
    shape, bias = (4, 32, 32), 0.02
    plain = ("none", math.inf)
    found = [mixture_of(noise(count, seed, bias, shape=shape), None, "fix", plain).amplification.item()
             for seed in range(8)]
    # |mean|^2 / L has mean 1 / N and relative spread sqrt(2 / L); the bias adds at most a few times 0.02^2.
    error = math.sqrt(2 / 4096 / 8) / 2 * math.sqrt(count)
    assert abs(sum(found) / 8 - math.sqrt(count)) < 4 * error + 2 * bias**2 * count**1.5
    ours = mixture_of(noise(count, 0, bias, shape=shape), None, "restored_variance", plain).amplification.item()
    assert ours == pytest.approx(math.sqrt(count), rel=0.05)


def test_a_common_bias_grows_without_mean_adjustment_and_stays_with_it():
    bias = torch.tensor([0.1, -0.1, 0.05, 0.0])
    latents = noise(64, bias=0, shape=(4, 32, 32)) + bias[:, None, None]
    means = {adjustment: mix(latents, None, "fix", (adjustment, 4.0)).mean(dim=(2, 3))[0]
             for adjustment in MEAN_ADJUSTMENTS}
    # Beside the amplified noise of the mean, (64 * 1024)^-0.5 * 8 = 0.03, the bias appears alpha-fold.
    alpha = 1 / math.sqrt(1 / 64 + bias.square().mean().item())
    torch.testing.assert_close(means["none"], alpha * bias, rtol=0, atol=0.13)
    torch.testing.assert_close(means["channel"], bias, rtol=0, atol=0.02)
    torch.testing.assert_close(means["low_pass"], means["channel"], rtol=0, atol=1e-5)
    assert means["global"][0] > 0.5


def test_identical_latents():
    same = noise(1).expand(4, -1, -1, -1)
    for method in ("lin", "nin", "restored_variance"):
        torch.testing.assert_close(mix(same, None, method), same[:1], rtol=1e-6, atol=1e-6)
    for method in ("slerp", "slerp_common"):
        torch.testing.assert_close(mix(same[:2], None, method), same[:1], rtol=1e-6, atol=1e-6)
    assert norms(mix(same, None, "fix", ("none", math.inf))).item() == pytest.approx(16)
    # Constant channels: nothing is left after the mean is removed, and the mean is the answer.
    constant = torch.tensor([0.3, -0.1, 0.7, 0.0])[None, :, None, None].expand(2, *SHAPE)
    for method in METHODS:
        for split in (("channel", math.inf), ("low_pass", 2.0)):
            if method == "fix":
                with pytest.raises(ValueError, match="row 1 of the weights nothing is left to be scaled to the norm"):
                    mix(constant, None, method, split)
            else:
                assert torch.equal(mix(constant, None, method, split), constant[:1])
    assert torch.equal(mix(torch.zeros(2, *SHAPE), None, "restored_variance"), torch.zeros(1, *SHAPE))


def test_inputs_that_cancel_have_no_direction():
    latents = torch.cat([noise(1), -noise(1)])
    for method in ("fix", "nin", "restored_variance"):
        with pytest.raises(ValueError, match="In row 2 of the weights nothing is left"):
            mix(latents, torch.tensor([[1.0, 0.0], [0.5, 0.5]]), method)
    assert not mix(latents, None, "lin").any() and not mix(latents, None, "lol").any()
    for method in ("slerp", "slerp_common"):
        with pytest.raises(ValueError, match="opposite directions"):
            mix(latents, None, method)


@pytest.mark.parametrize("split", [(adjustment, 4.0) for adjustment in MEAN_ADJUSTMENTS])
def test_inputs_that_cancel_up_to_rounding_leave_nothing(split):
    """What is left of sums of products that cancel differs between processors, and no method may make noise of it."""
    weights = torch.tensor([[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]], dtype=torch.float64)
    latents = noise(2).double()
    latents = torch.cat([latents, -(weights[:1, :2] / 0.7 @ latents.flatten(1)).reshape(1, *SHAPE)])
    assert (weights[:1] @ latents.flatten(1)).any(), "the point of this test is gone: nothing is left by itself"
    for method in ("fix", "nin", "restored_variance"):
        with pytest.raises(ValueError, match="In row 1 of the weights nothing is left"):
            mix(latents, weights, method, split)
    for method in ("lin", "lol"):
        found = mixture_of(latents, weights, method, split)
        assert not found.latents[0].any() and found.latents[1].any()
        assert found.amplification[0] == 1
    # With something constant in common, that is what is left.
    common = torch.tensor([0.3, -0.1, 0.7, 0.0], dtype=torch.float64)[None, :, None, None].expand(1, *SHAPE)
    if split[0] in ("channel", "low_pass"):
        for method in ("lin", "lol"):
            torch.testing.assert_close(mix(latents + common, weights, method, split)[:1], common.float(), rtol=1e-6,
                                       atol=1e-12)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_any_type_goes_in_and_fp32_comes_out(kind):
    latents = noise(96).to(kind)
    before = latents.clone()
    found = mix(latents, None, "fix")
    assert found.dtype == torch.float32 and torch.equal(latents, before)
    torch.testing.assert_close(found, mix(latents.float(), None, "fix"), rtol=1e-6, atol=1e-6)


def test_one_latent():
    latents = noise(1, scale=0.5)
    assert (torch.equal(mix(latents, None, "restored_variance"), latents)
            and torch.equal(mix(latents, None, "nin"), latents))
    assert (mixture_of(latents, None, "fix", ("none", math.inf)).amplification.item()
            == pytest.approx(16 / norms(latents).item()))


@pytest.mark.parametrize("change, message", [
    (dict(latents=torch.zeros(0, *SHAPE)), "batch is empty"),
    (dict(latents=torch.zeros(2, 4, 3, 8, 8)), "four dimensions"),
    (dict(latents=torch.full((2, *SHAPE), math.nan)), "NaN"),
    (dict(latents=torch.full((2, *SHAPE), math.inf)), "infinity"),
    (dict(weights=torch.tensor([[-1.0, 2.0, 0.0]])), "negative"), (dict(weights=torch.zeros(1, 3)), "all zero"),
    (dict(weights=torch.full((1, 3), math.nan)), "NaN"),
    (dict(weights=torch.ones(1, 2)), "2 weights per row but 3 latents"),
    (dict(method="cubic"), "no method 'cubic'"), (dict(mean_adjustment="median"), "no mean adjustment 'median'"),
    (dict(mean_adjustment="low_pass", low_pass_width=0.0), "must be above 0"),
    (dict(mean_adjustment="low_pass", low_pass_width=math.nan), "must be above 0"),
    (dict(method="slerp"), "gives weight to 3 latents, but slerp joins two"),
    (dict(method="slerp", weights=torch.tensor([[0.5, 0.5, 0.0]]),
          latents=torch.cat([noise(2), noise(1)]) * torch.tensor([0.0, 1.0, 1.0])[:, None, None, None]),
     "without noise"),
])
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        interpolate(**{"latents": noise(3), **change})
