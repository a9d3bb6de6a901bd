"""Reconstruction from a representation: against a closed form, whatever the batch, interrupted or whole."""
import copy
import math
from dataclasses import replace

import pytest
import torch
from toys import LinearGaussian

from mental_averages.dma.diffusion import NotFiniteError, Parametrization, paper_scale, salted_seed, starting_noise
from mental_averages.dma.execution import BatchSize
from mental_averages.dma.models import pooled
from mental_averages.dma.representation import (
    Reading,
    ReconstructionSettings,
    ReconstructionState,
    centroid,
    channel_means,
    distances_to,
    matched_features,
    reconstruct,
    strongest,
)
from mental_averages.dma.solvers import LBFGS, AdamToShare

SHAPE, LEVELS = (2, 4, 4), [4.0, 1.0, 0.3]
SHORT = AdamToShare(learning_rate=0.05, iterations=30, share=0.05)


class Maps:
    """Six channels of maps that are not linear in the latent; data of variance 1/4."""

    device = torch.device("cpu")

    def __init__(self, parametrization=Parametrization.EPS, dtype=torch.float32):
        generator = torch.Generator().manual_seed(3)
        self.weight = torch.randn(6, 2, 3, 3, generator=generator, dtype=torch.float64).to(dtype) / 3
        self.parametrization, self.calls, self.largest = parametrization, 0, 0

    def denoise(self, x, sigma):
        return 0.25 / (0.25 + sigma**2) * x

    def features(self, x, sigma):
        self.calls, self.largest = self.calls + 1, max(self.largest, len(x))
        return torch.tanh(torch.nn.functional.conv2d(x / (1 + sigma**2) ** 0.5, self.weight, padding=1)) + 0.1


def pictures(count=3):
    return 0.5 * torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(4))


def represented(denoiser, count=3, levels=LEVELS, pooling="mean"):
    return channel_means(denoiser, pictures(count), levels, Reading(4, 0, pooling), layer="middle")


def short(**changes):
    return ReconstructionSettings(**{"count": 5, "seed": 1, "solver": SHORT, **changes})


def test_on_linear_features_it_is_the_closed_form():
    """From each noised latent to the nearest one with the target's features, and denoised, level by level."""
    toy = LinearGaussian(SHAPE, features=7)
    found = channel_means(toy, pictures(), LEVELS, Reading(4), layer="linear")
    settings = short(solver=LBFGS(iterations=100, tolerance=1e-12))
    drawn = reconstruct(toy, found, settings, weights=[1, 2, 0])
    matrix, target = toy.matrix.double(), (found.means[0] + 2 * found.means[1]).double() / 3
    clean = torch.zeros(5, *SHAPE, dtype=torch.float64)
    for level, sigma in enumerate(LEVELS):
        noise = starting_noise(5, SHAPE, salted_seed(1, f"reconstruction {level}")).double()
        z = (clean + sigma * noise).flatten(1) / math.sqrt(1 + sigma**2)
        z = z + (target[level] - z @ matrix.T) @ torch.linalg.pinv(matrix).T
        clean = toy.denoise((z * math.sqrt(1 + sigma**2)).view_as(clean), sigma)
    torch.testing.assert_close(drawn.latents.double(), clean, rtol=1e-3, atol=1e-4)
    assert torch.equal(drawn.target.means, centroid(found, [1, 2, 0]).means)


def test_each_latent_ends_at_the_share_that_was_asked_for():
    denoiser = Maps()
    report = reconstruct(denoiser, represented(denoiser), short(solver=replace(SHORT, iterations=300))).report
    for level in report.levels:
        for before, after, iterations in zip(level.residual_before, level.residual_after, level.iterations):
            assert after <= 0.05 * before and 0 < iterations < 300
    assert [level.sigma for level in report.levels] == LEVELS and len(report.levels[0].iterations) == 5


def test_pictures_come_nearer_to_the_target_than_what_they_began_with_and_differ():
    denoiser = Maps()
    found = represented(denoiser, 1)
    solver = AdamToShare(learning_rate=0.02, iterations=200, share=1e-3)
    drawn = reconstruct(denoiser, found, short(solver=solver))
    unmatched = reconstruct(denoiser, found, short(solver=replace(solver, iterations=0)))
    assert max(drawn.report.distances) < 0.7 * min(unmatched.report.distances)
    assert drawn.report.levels[-1].spread > 0.1
    apart = torch.pdist(drawn.latents.flatten(1))
    assert apart.min() > 0.3 * apart.max()


def test_distances_are_those_of_the_finished_latents():
    denoiser = Maps()
    found = represented(denoiser)
    drawn = reconstruct(denoiser, found, short(), weights=[1, 0, 3])
    again = channel_means(denoiser, drawn.latents, LEVELS, Reading(4), layer="middle")
    assert torch.equal(drawn.found.means, again.means)
    assert drawn.report.distances == distances_to(again, drawn.target)
    assert drawn.report.sources == distances_to(found.of([0, 2]), drawn.target)
    spread = (drawn.latents - drawn.latents.mean(0)).square().mean().sqrt().item()
    assert drawn.report.levels[-1].spread == pytest.approx(spread)


@pytest.mark.parametrize("pooling", ["mean", "2x2", "none"])
@pytest.mark.parametrize("law", [Parametrization.EPS, Parametrization.FLOW])
def test_gradients_are_those_of_finite_differences(pooling, law):
    denoiser = Maps(law, torch.float64)
    sigma, scale = 0.6, paper_scale(law, 0.6)
    features = matched_features(denoiser, sigma, scale, pooling, torch.tensor([1, 4]))
    z = torch.randn(2, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(6), requires_grad=True)
    assert features(z).shape[:2] == (2, 2)
    assert torch.autograd.gradcheck(lambda z: (features(z) - 0.3).square().flatten(1).sum(1), z)


def test_only_the_strongest_channels_count():
    denoiser = Maps()
    found = represented(denoiser, 1)
    drawn = reconstruct(denoiser, found, short(channels=2, solver=replace(SHORT, iterations=300, share=1e-3)))
    for level, record in enumerate(drawn.report.levels):
        kept = found.means[0, level].abs().topk(2).indices.sort().values
        assert torch.equal(strongest(found.means[0, level], 2), kept)
        assert max(record.residual_after) < 2e-3 * max(record.residual_before)
    # The residual is over the channels that count, from the noise that is known.
    noise = 4.0 * starting_noise(5, SHAPE, salted_seed(1, "reconstruction 0"))
    kept = strongest(found.means[0, 0], 2)
    here, there = pooled(denoiser.features(noise, 4.0), "mean")[:, kept], found.means[0, 0][kept]
    expected = (here - there).square().sum(1) / there.square().sum()
    torch.testing.assert_close(torch.tensor(drawn.report.levels[0].residual_before), expected, rtol=1e-4, atol=1e-6)


def test_the_strongest_of_maps_are_told_by_their_mean_square():
    maps = torch.tensor([[1.0, 1.0], [-3.0, 0.0], [0.1, 2.0]])[:, :, None]
    assert strongest(maps, 2).tolist() == [1, 2] and strongest(maps, 0).tolist() == [0, 1, 2]


@pytest.mark.parametrize("size", [1, 2, 64])
@pytest.mark.parametrize("law, levels", [(Parametrization.EPS, LEVELS), (Parametrization.FLOW, [1.0, 0.6, 0.2])])
def test_results_do_not_depend_on_the_batch(size, law, levels):
    denoiser = Maps(law)
    found = represented(denoiser, levels=levels)
    whole = reconstruct(denoiser, found, short(), batch=BatchSize(3))
    denoiser.largest = 0
    again = reconstruct(denoiser, found, short(), batch=BatchSize(size))
    torch.testing.assert_close(again.latents, whole.latents, rtol=1e-3, atol=1e-4)
    assert denoiser.largest <= size


def test_a_picture_does_not_depend_on_how_many_there_are_and_does_on_the_seed():
    denoiser = Maps()
    found = represented(denoiser)
    whole = reconstruct(denoiser, found, short()).latents
    torch.testing.assert_close(reconstruct(denoiser, found, short(count=2)).latents, whole[:2], rtol=1e-3, atol=1e-4)
    other = reconstruct(denoiser, found, short(seed=2)).latents
    assert (other - whole).square().mean() > 0.1 * whole.square().mean()


@pytest.mark.parametrize("stop_after", [1, 2, 4, 5, 12, 14, 19])
def test_a_reconstruction_goes_on_where_it_was_interrupted(stop_after):
    denoiser, batch = Maps(), 2
    found = represented(denoiser)
    events, saved = [], []
    whole = reconstruct(denoiser, found, short(), batch=BatchSize(batch),
                        watchers=[lambda event, state: events.append(event.kind) if not event.iteration else None])
    # Three micro-batches and an end at each level, then ten micro-batches and an end at each level of the reading.
    assert events == 3 * [*3 * ["match"], "level"] + 3 * [*10 * ["read"], "level"]

    def interrupt(event, state):
        if not event.iteration:
            saved.append(copy.deepcopy(state.packed()))
        if len(saved) == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reconstruct(denoiser, found, short(), batch=BatchSize(batch), watchers=[interrupt])
    rest = []
    again = reconstruct(denoiser, found, short(), batch=BatchSize(batch),
                        watchers=[lambda event, state: rest.append(event.kind) if not event.iteration else None],
                        state=ReconstructionState.unpacked(*saved[-1]))
    assert torch.equal(again.latents, whole.latents) and again.report.levels == whole.report.levels
    assert again.report.distances == whole.report.distances
    done = [kind for kind in events[:stop_after] if kind != "level"]
    assert len([kind for kind in rest if kind != "level"]) == 39 - len(done)


@pytest.mark.parametrize("stop_after", [1, 7, 40])
def test_a_reconstruction_goes_on_within_a_match(stop_after):
    denoiser, heard = Maps(), []
    found = represented(denoiser)
    whole = reconstruct(denoiser, found, short(), batch=BatchSize(5))

    def interrupt(event, state):
        heard.append(event)
        if sum(each.iteration > 0 for each in heard) == stop_after:
            raise KeyboardInterrupt

    state = ReconstructionState()
    with pytest.raises(KeyboardInterrupt):
        reconstruct(denoiser, found, short(), batch=BatchSize(5), watchers=[interrupt], state=state)
    saved = copy.deepcopy(state.packed())
    assert saved[1]["under_way"][:2] == [0, 5] and heard[-1].changed
    rest = []
    # Another size of batches would be another run of the solver: the one that was begun is kept.
    again = reconstruct(denoiser, found, short(), batch=BatchSize(5), state=ReconstructionState.unpacked(*saved),
                        watchers=[lambda event, state: rest.append(event)])
    assert torch.equal(again.latents, whole.latents) and again.report.levels == whole.report.levels
    assert rest[0].iteration == heard[-1].iteration + 1 or rest[0].row == 5


@pytest.mark.parametrize("part, message", [("features", "Step 2 of 3: The features of latents that are matched"),
                                           ("denoise", "Step 2 of 3: Predictions at noise level 1 ")])
def test_nan_names_its_level_and_leaves_a_state_to_go_on_from(part, message):
    class Breaking(Maps):
        broken = False

        def of_level(self, value, sigma):
            return torch.full_like(value, math.nan) if self.broken and sigma == 1.0 else value

        def denoise(self, x, sigma):
            return self.of_level(super().denoise(x, sigma), sigma if part == "denoise" else 0)

        def features(self, x, sigma):
            return self.of_level(super().features(x, sigma), sigma if part == "features" else 0)

    denoiser, state = Breaking(), ReconstructionState()
    found = represented(denoiser)
    whole = reconstruct(denoiser, found, short())

    def breaks(event, state):
        denoiser.broken |= event.kind == "level"

    with pytest.raises(NotFiniteError, match=message):
        reconstruct(denoiser, found, short(), watchers=[breaks], state=state)
    denoiser.broken = False
    assert len(state.records) == 1
    assert torch.equal(reconstruct(denoiser, found, short(), state=state).latents, whole.latents)


@pytest.mark.parametrize("change, settings, weights, message", [
    ({}, dict(count=0), None, "count is 0"),
    ({}, dict(channels=7), None, "channels is 7, but this representation has 6"),
    ({}, dict(channels=-1), None, "channels is -1"),
    ({}, {}, [1, 1], "3 representations need as many weights"),
    (dict(sigmas=(4.0, 1.0, 0.0)), {}, None, "noise levels above 0"),
    (dict(sigmas=(1.0, 4.0, 0.3)), {}, None, "falling noise levels"),
    (dict(means=torch.zeros(3, 3, 6)), {}, None, "is 0 at one of its noise levels"),
    (dict(means=torch.full((3, 3, 6), math.nan)), {}, None, "NaN"),
    (dict(means=torch.ones(3, 3, 5)), {}, None, r"features of the shape \(5,\), but the layer .* \(6,\)"),
    (dict(fingerprint=torch.zeros(3, 64)), {}, None, "another model, or under another prompt"),
])
def test_bad_input_is_refused_before_work_starts(change, settings, weights, message):
    denoiser = Maps()
    found = represented(denoiser)
    if "fingerprint" in change:
        change = {"fingerprint": torch.zeros_like(found.fingerprint)}
    with pytest.raises(ValueError, match=message):
        reconstruct(denoiser, replace(found, **change), short(**settings), weights=weights,
                    watchers=[lambda event, state: pytest.fail("work has started")])


def test_settings_are_in_the_report():
    denoiser = Maps()
    report = reconstruct(denoiser, represented(denoiser), short(count=1, channels=3)).report
    assert report.settings["solver"]["share"] == 0.05 and report.settings["solver_name"] == "AdamToShare"
    assert (report.settings["channels"], report.settings["layer"], report.settings["draws"]) == (3, "middle", 4)
    assert type(report).from_json(report.to_json()) == report
