"""Every loop of the house on a device without fp64, and latents that come from there: the results are the CPU's."""
import dataclasses
import re
from pathlib import Path

import pytest
import torch
from ode_toys import Network, pictures, schedule
from single_precision_device import DEVICE, OnDevice, pretended
from toys import LinearGaussian, sigmas
from trainings import CLEAN, SHAPE, Toy, draws_of, small
from two_modes import LEVEL, LEVELS, MIXTURE, SETTINGS, TwoModes

from mental_averages.dma import (
    alignment,
    baselines,
    clustering,
    diffusion,
    hspace,
    interpolation,
    inversion,
    metrics,
    models,
    representation,
    solvers,
    training,
)
from mental_averages.dma.diffusion import Parametrization
from mental_averages.dma.execution import BatchSize, drive
from mental_averages.dma.precision import in_double

DMA = Path(__file__).parents[2] / "dma"


@pytest.fixture(autouse=True)
def _pretended():
    with pretended():
        yield


def on_device(denoiser):
    """A toy whose tensors are all on the device."""
    denoiser.device = DEVICE
    for name, value in vars(denoiser).items():
        if isinstance(value, torch.Tensor):
            setattr(denoiser, name, value.to(DEVICE))
    return denoiser


def test_the_pretended_device_refuses_what_real_ones_refuse():
    x = torch.ones(3).to(DEVICE)
    assert x.device == DEVICE and torch.zeros_like(x).device == DEVICE and x.cpu().device.type == "cpu"
    for refused in (lambda: x.double(), lambda: x.to("cpu", torch.float64), lambda: torch.ones(1).double().to(DEVICE)):
        with pytest.raises(TypeError, match="float64"):
            refused()
    for refused in (lambda: x + torch.ones(3), lambda: torch.arange(3)[x > 0]):
        with pytest.raises(RuntimeError, match="same device"):
            refused()
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((leaf * leaf).sum(), leaf)
    assert isinstance(gradient, OnDevice) and gradient.tolist() == [2.0, 2.0, 2.0]


def test_in_double_comes_from_any_device():
    found = in_double(torch.ones(2).to(DEVICE))
    assert found.dtype == torch.float64 and found.device.type == "cpu"


def test_nothing_in_dma_converts_in_another_way():
    """Of a tensor that may be on a device; what is made in fp64 is made on the CPU."""
    another_way = re.compile(r"\.double\(|\.to\((?:\"cpu\", )?torch\.float64")
    allowed = {"precision.py": 1, "_scores.py": 1, "_probe.py": 1}  # counts of what is on the CPU in any case
    found = {file.name: len(another_way.findall(re.sub(r'""".*?"""', "", file.read_text(encoding="utf-8"), flags=re.S)))
             for file in DMA.rglob("*.py")}
    assert {name: count for name, count in found.items() if count} == allowed


@pytest.mark.parametrize("solver", [solvers.Adam(iterations=5), solvers.LBFGS(iterations=5, plateau=0.1),
                                    solvers.GaussNewton(iterations=3)], ids=lambda solver: type(solver).__name__)
def test_alignment(solver):
    settings = alignment.AlignmentSettings(count=6, aligned_steps=3, keep=2, seed=1, solver=solver, restored_noise=0.5,
                                           mean_error=1e-3)
    heard = []
    monitor = alignment.Monitor(heard.append, settings, sigmas(), denoiser=on_device(LinearGaussian()))
    expected = alignment.align(LinearGaussian(), sigmas(), (2, 3, 3), settings, batch=BatchSize(4))
    found = alignment.align(on_device(LinearGaussian()), sigmas(), (2, 3, 3), settings, batch=BatchSize(4),
                            watchers=[monitor])
    assert found.latents.device.type == "cpu" and torch.equal(found.latents, expected.latents) and heard
    assert found.report.steps == expected.report.steps


@pytest.mark.parametrize("given", [False, True])
def test_mixture(given):
    samples = torch.randn(40, 2, 3, 3, generator=torch.Generator().manual_seed(2)) if given else None
    expected = alignment.align_mixture(TwoModes(), LEVELS, (2, 3, 3), SETTINGS, MIXTURE, LEVEL, samples=samples)
    found = alignment.align_mixture(on_device(TwoModes()), LEVELS, (2, 3, 3), SETTINGS, MIXTURE, LEVEL,
                                    samples=samples.to(DEVICE) if given else None)
    for one, other in zip(found.latents, expected.latents):
        torch.testing.assert_close(one, other)
    assert found.samples.device.type == "cpu" and torch.equal(found.clusters.labels, expected.clusters.labels)


METHODS = [inversion.Ddim(), inversion.FixedPoint(), inversion.Bdia(), inversion.Midpoint(), inversion.FireFlow(),
           inversion.DpmEncoder(0.5)]


@pytest.mark.parametrize("method, parametrization", [
    *((method, parametrization) for method in METHODS for parametrization in Parametrization),
    (inversion.RFInversion(), Parametrization.FLOW),
], ids=lambda value: getattr(value, "name", ""))
def test_inversion_and_way_back(method, parametrization):
    levels, found = schedule(parametrization, 5), []
    for device in ("cpu", DEVICE):
        network = Network(parametrization)
        network = network if device == "cpu" else on_device(network)
        inverted = inversion.invert(network, pictures().to(device), levels, method=method)
        restored = inversion.way_back(network, inverted.trajectory.noise.to(device), inverted.trajectory)
        found.append((inverted.trajectory.noise, restored, inverted.report.round_trip))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])
    assert found[0][2] == found[1][2] and found[1][1].device.type == "cpu"


class Guided(Network):
    """A network whose unconditional side is its embedding."""

    def unconditional_embedding(self):
        return torch.zeros(1, 1, 4, device=self.device)

    def denoise_with(self, x, sigma, embedding):
        return super().denoise(x, sigma) + 0.1 * embedding[:, 0, :, None, None]


def test_null_text():
    found, levels = [], schedule(Parametrization.EPS, 4)
    for device in ("cpu", DEVICE):
        network = Guided(Parametrization.EPS)
        network = network if device == "cpu" else on_device(network)
        pivot = inversion.invert(network, pictures(), levels, whole=True)
        shifted = dataclasses.replace(pivot.trajectory, latents=1.1 * pivot.trajectory.latents)
        pivot = dataclasses.replace(pivot, trajectory=shifted)
        found.append(inversion.optimise_null_text(network, pivot, settings=inversion.NullText(iterations=3)))
    assert found[0].trajectory.companion.any()
    assert torch.equal(found[0].trajectory.companion, found[1].trajectory.companion)


def test_training():
    losses = []
    for device in ("cpu", DEVICE):
        toy, settings = Toy(), small(steps=4)
        toy.parameters = [parameter.detach().to(device).requires_grad_() for parameter in toy.parameters]
        loss = training.loss_on(CLEAN.to(device), Parametrization.EPS, torch.device(device), toy.denoise)
        losses.append(training.train(toy.parameters, loss, draws_of(settings), settings).report.losses)
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_checks_and_fingerprints_of_a_model():
    there, here = on_device(LinearGaussian()), LinearGaussian()
    assert models.check_gradient(there, (2, 3, 3), 5.0) == pytest.approx(models.check_gradient(here, (2, 3, 3), 5.0))
    assert torch.equal(models.fingerprint(there, sigmas(), (2, 3, 3)), models.fingerprint(here, sigmas(), (2, 3, 3)))
    start = torch.zeros(1, *SHAPE)
    assert torch.equal(diffusion.sample(there, start.to(DEVICE), sigmas()), diffusion.sample(here, start, sigmas()))


def test_reading_what_a_prompt_changes_and_reconstruction():
    latents, levels, found = torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(5)), [2.0, 0.5], []
    settings = representation.ReconstructionSettings(3, 1, solver=solvers.AdamToShare(iterations=5))
    for device in ("cpu", DEVICE):
        toy, other = (each if device == "cpu" else on_device(each) for each in (LinearGaussian(), LinearGaussian()))
        other.mean = other.mean + 1
        read = representation.channel_means(toy, latents.to(device), levels, representation.Reading(3),
                                            batch=BatchSize(2))
        changed = representation.guidance_difference(toy, other, latents.to(device), levels, draws=2,
                                                     batch=BatchSize(2))
        drawn = representation.reconstruct(toy, read, settings, batch=BatchSize(2))
        found.append((read.means, changed, drawn.latents, drawn.found.means, torch.tensor(drawn.report.distances)))
    for one, other in zip(*found):
        assert torch.equal(one, other) and other.device.type == "cpu" and one.any()


def test_layer_probe():
    class Layered(LinearGaussian):
        def at(self, layer):
            return self

        def all_features(self, x, sigma, layers, reduced):
            return {layer: reduced(layer, self.features(x, sigma)) for layer in layers}

    scores = []
    for place in (lambda toy: toy, on_device):
        probe = hspace.Probe(("one",), tuple(sigmas().tolist()), (2, 3, 3), 2, hspace.ProbeSettings(4, (0, 2), 1, 2))
        state = hspace.ProbeState()
        for _ in range(2):
            drive(hspace.read_prompt(place(Layered()), probe, state), state, [])
        scores.append(hspace.probe_report(probe, state, {}).layers[0].score)
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)


LATENTS = torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("function", [
    lambda x: interpolation.interpolate(x, method="fix").latents,
    lambda x: interpolation.interpolate(x[:2], method="slerp", mean_adjustment="low_pass").latents,
    lambda x: interpolation.interpolate(x, torch.ones(1, 6).to(x.device)).latents,
    lambda x: torch.tensor(interpolation.latent_statistics(x).norms),
    lambda x: interpolation.offset_channels(x, 0.4),
    lambda x: interpolation.norm_guided_centroid(x, points=4).latents,
    lambda x: baselines.mean_of(x),
    lambda x: torch.tensor(baselines.medoid(x)),
    lambda x: torch.tensor(metrics.frechet_distance(x[:3, 0, :, 0], x[3:, 0, :, 0])),
    lambda x: clustering.cluster(x.flatten(1), clustering.ClusterSettings(2, 2, minimum_size=1)).labels,
    lambda x: solvers.anderson_step([x, 2 * x], [x, 3 * x]),
])
def test_what_is_made_of_tensors_from_the_device(function):
    """As --gpu-only has them."""
    expected, found = function(LATENTS), function(LATENTS.to(DEVICE))
    torch.testing.assert_close(found.cpu(), expected)
