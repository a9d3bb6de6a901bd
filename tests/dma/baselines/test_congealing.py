"""Congealing, on one picture that was moved in ways that are known."""
import math

import pytest
import torch

from mental_averages.dma.baselines import CongealingSettings, aligned_mean, mean_of, trimmed_mean
from mental_averages.dma.baselines._congealing import roughness, scales
from mental_averages.dma.baselines._warps import linear_parts, warped
from mental_averages.dma.execution import BatchSize, PassMonitor


def picture(size=64):
    """A smooth face-like picture without any symmetry, on white, (1, 3, size, size)."""
    ticks = (2 * torch.arange(size) + 1 - size) / size
    y, x = torch.meshgrid(ticks, ticks, indexing="ij")

    def spot(right, down, wide, high):
        return torch.exp(-((x - right) / wide) ** 2 - ((y - down) / high) ** 2)

    body, left, other, mouth = spot(0, 0, 0.45, 0.5), spot(-0.2, -0.15, 0.1, 0.1), spot(0.2, -0.1, 0.08, 0.14), spot(
        0.05, 0.25, 0.2, 0.07)
    return torch.stack([1 - 0.3 * body - 0.5 * left, 1 - 0.7 * body + 0.3 * mouth, 1 - body + 0.7 * other])[None]


def matrices(similarities):
    last = torch.tensor([0.0, 0.0, 1.0]).expand(len(similarities), 1, 3)
    return torch.cat([torch.cat([linear_parts(similarities), similarities[:, 2:, None]], 2), last], 1)


def moved_by(similarities):
    """Pictures (N, H, W, 3)."""
    return warped(picture().expand(len(similarities), -1, -1, -1), similarities).clamp(0, 1).permute(0, 2, 3, 1)


KNOWN = {
    "shifts": torch.tensor([[0, 0, 0.15, 0], [0, 0, -0.1, 0.1], [0, 0, 0, -0.2], [0, 0, -0.05, 0.1]]),
    "rotations": torch.tensor([[0, 0.35, 0, 0], [0, -0.3, 0, 0], [0, 0.1, 0, 0], [0, -0.15, 0, 0]]),
    "all": torch.tensor([[0.15, 0.2, 0.1, 0], [-0.1, -0.2, 0, 0.1], [0.1, 0.1, -0.1, -0.1], [-0.15, -0.1, 0, 0.05],
                         [0, 0.05, 0.1, -0.05]]),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_moves_are_undone(name):
    """x_k = x o S_k and T_k = S_k^-1 o C for one common C, which is in the middle of all."""
    known = KNOWN[name].float()
    found = aligned_mean(moved_by(known), CongealingSettings(flow_rounds=0, trim=0.0))
    common = matrices(known) @ matrices(found.similarities)
    apart = common - common.mean(0)
    assert apart[:, :2, :2].abs().max() < 0.03 and apart[:, :2, 2].abs().max() < 0.02  # 0.03 is one pixel of 64
    torch.testing.assert_close(found.similarities.mean(0), torch.zeros(4), rtol=0, atol=1e-5)
    assert found.distance_after < 0.03 * found.distance_before
    # Sharp where the plain mean is not: the mean is one of the aligned pictures.
    assert (found.mean - found.aligned).abs().mean() < 0.1 * (mean_of(moved_by(known)) - moved_by(known)).abs().mean()


def test_flows_undo_what_no_similarity_can():
    ticks = torch.linspace(-1, 1, 6)
    bend = 0.12 * torch.cos(math.pi * ticks)  # of columns, by their height
    flow = torch.zeros(2, 2, 6, 6)
    flow[0, 0], flow[1, 0] = bend[:, None], -bend[:, None]
    bent = warped(picture().expand(2, -1, -1, -1), torch.zeros(2, 4), flow).clamp(0, 1).permute(0, 2, 3, 1)
    stiff = aligned_mean(bent, CongealingSettings(flow_rounds=0))
    soft = aligned_mean(bent, CongealingSettings(smoothness=0.01))
    assert soft.distance_after < 0.3 * stiff.distance_after
    # With no roughness allowed flows stay away.
    assert aligned_mean(bent, CongealingSettings(smoothness=1e6)).flows.abs().max() < 1e-3


def test_pictures_that_agree_stay_where_they_are():
    pictures = picture().permute(0, 2, 3, 1).expand(3, -1, -1, -1)
    found = aligned_mean(pictures)
    torch.testing.assert_close(found.mean, pictures[:1], rtol=0, atol=1e-2)
    assert found.similarities.abs().max() < 1e-3 and found.distance_before == pytest.approx(0, abs=1e-9)
    single = aligned_mean(pictures[:1])
    torch.testing.assert_close(single.mean, pictures[:1], rtol=0, atol=1e-5)
    assert single.distance_after == 0


def test_the_result_does_not_depend_on_batches_and_is_warped_at_full_size():
    pictures = moved_by(KNOWN["shifts"].float())
    settings = CongealingSettings(similarity_rounds=2, flow_rounds=1, iterations=5, resolution=32)
    events = []
    whole = aligned_mean(pictures, settings, watchers=[lambda event, state: events.append(event)])
    parts = aligned_mean(pictures, settings, batch=BatchSize(3))
    torch.testing.assert_close(parts.mean, whole.mean, rtol=0, atol=1e-4)
    assert whole.aligned.shape == pictures.shape and whole.mean.shape == (1, 64, 64, 3)
    assert [(event.kind, event.row, event.rows) for event in events if not event.iteration] == [
        ("resize", 4, 4), ("compare", 4, 4), *[("align", 4, 4), ("round", 0, 0)] * 3,
        *[("warp", row, 4) for row in (1, 2, 3, 4)], ("compare", 4, 4), ("mean", 64 * 64 * 3, 64 * 64 * 3)]
    torch.testing.assert_close(whole.mean, trimmed_mean(whole.aligned))


def test_every_iteration_of_the_warps_is_told_of():
    settings = CongealingSettings(similarity_rounds=1, flow_rounds=1, iterations=3, resolution=16)
    heard = []
    aligned_mean(moved_by(KNOWN["all"].float()), settings, batch=BatchSize(3),
                 watchers=[lambda event, state: heard.append(event) if event.kind == "align" else None])
    # Three pictures, and then two, in each of two rounds; the best of the warps is known after one look more.
    assert [(event.row, event.iteration) for event in heard] == 2 * [
        (0, 1), (0, 2), (0, 3), (3, 0), (3, 1), (3, 2), (3, 3), (5, 0)]
    assert [event.row + event.under_way for event in heard] == 2 * [0.75, 1.5, 2.25, 3, 3.5, 4, 4.5, 5]
    assert [event.changed for event in heard] == [not event.iteration for event in heard]


@pytest.mark.parametrize("count, rounds", [(4, 2), (4, 0), (1, 2)])
def test_every_pass_ends_and_the_last_is_the_end(count, rounds):
    settings = CongealingSettings(similarity_rounds=rounds, flow_rounds=0, iterations=2, resolution=16)
    told = []
    aligned_mean(torch.rand(count, 16, 16, 3), settings,
                 watchers=[PassMonitor(told.append, "aligning", settings.passes(count))])
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions) and fractions[-1] == 1


@pytest.mark.parametrize("kind", ["resize", "compare", "align", "warp", "mean"])
def test_an_interrupt_is_heard_in_every_pass(kind):
    class Interrupted(Exception):
        pass

    heard = []

    def interrupt(event, state):
        heard.append(event.kind)
        if event.kind == kind:
            raise Interrupted

    settings = CongealingSettings(similarity_rounds=1, flow_rounds=0, iterations=1, resolution=16)
    with pytest.raises(Interrupted):
        aligned_mean(torch.rand(3, 16, 16, 3), settings, watchers=[interrupt])
    assert heard[-1] == kind and heard.count(kind) == 1


def test_pictures_that_are_no_squares():
    tall = torch.nn.functional.pad(moved_by(KNOWN["shifts"].float()), (0, 0, 0, 0, 8, 24), value=1.0)
    found = aligned_mean(tall, CongealingSettings(flow_rounds=0))
    assert found.mean.shape == (1, 96, 64, 3) and found.distance_after < 0.05 * found.distance_before


def test_other_features_may_compare():
    """Features that see no colour: pictures that differ in nothing else do not move."""
    grey = picture().mean(1, keepdim=True).permute(0, 2, 3, 1)
    pictures = torch.cat([grey * torch.tensor(colour) for colour in ([1.0, 1.0, 1.0], [1.2, 1.0, 0.8])]) / 1.2
    asked = []

    def lightness(batch):
        asked.append(batch.shape)
        return [batch.mean(1)]

    found = aligned_mean(pictures, features=lightness)
    assert asked and found.similarities.abs().max() < 1e-3 and found.distance_before == pytest.approx(0, abs=1e-10)


def test_scales_halve_down_to_8_pixels_and_roughness_is_that_of_a_slope():
    assert [tuple(each.shape[2:]) for each in scales(torch.zeros(1, 3, 64, 48))] == [(64, 48), (32, 24), (16, 12)]
    slope = torch.arange(5.0).view(1, 1, 1, 5).expand(1, 2, 5, 5) * 0.01
    assert roughness(slope).item() == pytest.approx(25 * 1e-4 + 0.01 * 1e-4 * 6)


@pytest.mark.parametrize("change, message", [
    (dict(similarity_rounds=-1), "rounds"), (dict(iterations=0), "iterations is 0"), (dict(trim=0.5), "trim is 0.5"),
    (dict(smoothness=-1.0), "smoothness -1"), (dict(learning_rate=0.0), "learning_rate is 0")])
def test_settings_that_make_no_sense(change, message):
    with pytest.raises(ValueError, match=message):
        aligned_mean(torch.rand(2, 16, 16, 3), CongealingSettings(**change))


@pytest.mark.parametrize("pictures, message", [
    (torch.rand(2, 16, 16), "have the shape"), (torch.rand(0, 16, 16, 3), "have the shape"),
    (torch.full((2, 16, 16, 3), float("nan")), "NaN")])
def test_what_is_no_batch_of_pictures(pictures, message):
    with pytest.raises(ValueError, match=message):
        aligned_mean(pictures)
