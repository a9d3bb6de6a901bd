import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from mental_averages.dma import interpolation
from mental_averages.dma.interpolation import MEAN_ADJUSTMENTS, METHODS, interpolate

SHAPE = (4, 8, 8)
MANY_INPUTS = [method for method in METHODS if not method.startswith("slerp")]
reproducing = pytest.mark.parametrize("method", [method for method in METHODS if method != "fix"])
any_method = st.sampled_from(MANY_INPUTS)
any_split = st.one_of(st.tuples(st.sampled_from(MEAN_ADJUSTMENTS[:3]), st.just(math.inf)),
                      st.tuples(st.just("low_pass"), st.floats(0.3, 20)))
thorough = settings(max_examples=15, deadline=None)


def noise(count, seed=0, bias=0.1, scale=1.0, shape=SHAPE):
    generator = torch.Generator().manual_seed(seed)
    return scale * (torch.randn(count, *shape, generator=generator)
                    + bias * torch.randn(1, shape[0], 1, 1, generator=generator))


def random_weights(count, seed):
    weights = torch.rand(1, count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.05
    return weights / weights.sum()


def mix(latents, weights, method, split=("channel", math.inf)):
    return interpolate(latents, weights, method, *split).latents


def norms(latents):
    return latents.double().flatten(1).norm(dim=1)


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
    deterministic, parts = interpolation.split(latents.double(), *split)
    torch.testing.assert_close(deterministic + parts, latents.double())
    target = interpolation.nominal_norm(SHAPE, *split)
    linear = (weights @ parts.flatten(1)).norm()
    energy = (weights @ norms(parts).square()).item()
    expected = {"lin": linear, "fix": target, "nin": (weights @ norms(parts)).item(),
                "lol": linear / weights.square().sum().sqrt(),
                "restored_variance": math.sqrt(linear**2 + target**2 * (energy - linear**2) / energy)}
    kept = (weights @ deterministic.flatten(1)).reshape(1, *SHAPE)
    for method, norm in expected.items():
        mixture = interpolate(latents, weights, method, *split)
        assert norms(mixture.latents.double() - kept).item() == pytest.approx(float(norm), rel=1e-4)
        assert mixture.amplification.item() == pytest.approx(float(norm / linear), rel=1e-9)
        assert mixture.latents.dtype == torch.float32


@thorough
@given(seed=st.integers(0, 10**6), count=st.integers(1, 6), scale=st.floats(0.3, 3))
def test_ours_stays_between_the_inputs_and_the_shell_and_ends_on_it(seed, count, scale):
    latents, weights = noise(count, seed, scale=scale), random_weights(count, seed)
    norm = norms(mix(latents, weights, "restored_variance", ("none", math.inf))).item()
    inputs = math.sqrt((weights @ norms(latents).square()).item())
    assert min(inputs, 16.0) - 1e-4 <= norm <= max(inputs, 16.0) + 1e-4
    distances = [abs(norms(interpolate(noise(many, seed, bias=0, scale=scale), None,
                                       "restored_variance", "none").latents).item() - 16)
                 for many in (2, 16, 128)]
    assert distances[2] <= distances[1] + 1e-4 <= distances[0] + 1 and distances[2] < 0.02 * 16 * max(1, scale**2)


def test_ours_is_fix_and_nin_for_inputs_on_the_shell():
    latents = noise(5)
    latents *= (16 / norms(latents))[:, None, None, None].float()
    weights = random_weights(5, 3)
    for method in ("fix", "nin"):
        torch.testing.assert_close(mix(latents, weights, "restored_variance", ("none", math.inf)),
                                   mix(latents, weights, method, ("none", math.inf)), rtol=1e-5, atol=1e-5)


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
    found = [interpolate(noise(count, seed, bias, shape=shape), None, "fix", "none").amplification.item()
             for seed in range(8)]
    # |mean|^2 / L has mean 1 / N and relative spread sqrt(2 / L); the bias adds at most a few times 0.02^2.
    error = math.sqrt(2 / 4096 / 8) / 2 * math.sqrt(count)
    assert abs(sum(found) / 8 - math.sqrt(count)) < 4 * error + 2 * bias**2 * count**1.5
    ours = interpolate(noise(count, 0, bias, shape=shape), None, "restored_variance", "none").amplification.item()
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


@pytest.mark.parametrize("shape", [(4, 8, 8), (16, 5, 12), (3, 1, 7), (2, 1, 1)])
def test_low_pass_of_infinite_width_is_the_channel_mean(shape):
    latents = noise(3, shape=shape)
    for wide in (math.inf, 1e6):
        for part, expected in zip(interpolation.split(latents.double(), "low_pass", wide),
                                  interpolation.split(latents.double(), "channel")):
            torch.testing.assert_close(part, expected, rtol=0, atol=1e-12)
        assert interpolation.nominal_norm(shape, "low_pass", wide) == pytest.approx(
            math.sqrt(math.prod(shape)) * (shape[1:] != (1, 1) or math.isinf(wide)))
    if shape[1:] != (1, 1):
        assert torch.equal(mix(latents, None, "fix", ("low_pass", math.inf)), mix(latents, None, "fix"))


@thorough
@given(width=st.floats(0.05, 50), height=st.integers(1, 9), breadth=st.integers(2, 9))
def test_low_pass_keeps_constants_and_channel_means(width, height, breadth):
    constant = torch.tensor([3.0, -1.0])[None, :, None, None].expand(1, 2, height, breadth).double()
    kept, left = interpolation.split(constant, "low_pass", width)
    torch.testing.assert_close(kept, constant)
    assert not left.any()
    _, left = interpolation.split(noise(2, shape=(3, height, breadth)).double(), "low_pass", width)
    assert left.mean(dim=(2, 3)).abs().max() < 1e-12


def test_low_pass_is_a_gaussian_in_the_middle_and_leaves_the_stated_share_of_noise():
    impulse = torch.zeros(1, 1, 33, 33, dtype=torch.float64)
    impulse[0, 0, 16, 16] = 1
    kept, _ = interpolation.split(impulse, "low_pass", 2.0)
    places = torch.arange(33) - 16.0
    gaussian = torch.exp(-(places[:, None] ** 2 + places**2) / 8) / (8 * math.pi)
    torch.testing.assert_close(kept[0, 0], gaussian.double(), rtol=0, atol=1e-6)
    _, left = interpolation.split(noise(3000, bias=0).double(), "low_pass", 1.0)
    channel_mean_left = interpolation.split(noise(3000, bias=0).double(), "channel")[1]
    share = left.square().sum() / channel_mean_left.square().sum()
    assert interpolation.nominal_norm(SHAPE, "low_pass", 1.0) == pytest.approx(16 * share.sqrt().item(), rel=2e-3)
    assert interpolation.nominal_norm(SHAPE, "low_pass", 1e-3) < 1e-3


@thorough
@given(seed=st.integers(0, 10**6), t=st.floats(0.01, 0.99), scale=st.floats(0.5, 2))
def test_slerp_turns_evenly_and_the_common_form_agrees_on_the_sphere(seed, t, scale):
    latents = noise(2, seed)
    latents[1] *= scale
    first, second = (latents / norms(latents)[:, None, None, None]).double().flatten(1)
    angle = torch.arccos(first @ second)
    between = mix(latents, torch.tensor([[1 - t, t]], dtype=torch.float64), "slerp",
                  ("none", math.inf)).double().flatten()
    assert torch.arccos((between / between.norm()) @ first).item() == pytest.approx(t * angle.item(), abs=1e-3)
    assert between.norm().item() == pytest.approx(((1 - t) * norms(latents)[0] + t * norms(latents)[1]).item(),
                                                  rel=1e-5)
    common = mix(latents, torch.tensor([[1 - t, t]], dtype=torch.float64), "slerp_common",
                 ("none", math.inf)).double().flatten()
    sine = torch.sin((1 - t) * angle) / torch.sin(angle), torch.sin(t * angle) / torch.sin(angle)
    torch.testing.assert_close(common, sine[0] * latents[0].double().flatten()
                               + sine[1] * latents[1].double().flatten(), rtol=1e-4, atol=1e-4)
    equal = latents / norms(latents)[:, None, None, None].float() * 16
    torch.testing.assert_close(*(mix(equal, torch.tensor([[1 - t, t]]), method, ("none", math.inf))
                                 for method in ("slerp", "slerp_common")))


def test_the_common_slerp_leaves_the_range_of_the_inputs_norms():
    """What section 3.3 of the paper warns of, here with inputs at 30 degrees and norms 1 and 2 (times 16)."""
    first, second = torch.zeros(2, 256)
    first[0], second[0], second[1] = 16, 32 * math.cos(2.6), 32 * math.sin(2.6)
    latents = torch.stack([first, second]).reshape(2, *SHAPE)
    rows = torch.linspace(0, 1, 101)[:, None] * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0])
    assert norms(mix(latents, rows, "slerp_common", ("none", math.inf))).max() > 40
    true = norms(mix(latents, rows, "slerp", ("none", math.inf)))
    assert 16 - 1e-3 < true.min() and true.max() < 32 + 1e-3


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
    assert interpolate(latents, None, "fix", "none").amplification.item() == pytest.approx(16 / norms(latents).item())


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
