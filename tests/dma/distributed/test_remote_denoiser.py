import pytest
import torch
from toys import Biased, LinearGaussian

from mental_averages.dma.diffusion import Parametrization, start_scale


def test_it_answers_as_the_denoiser_of_its_name_does(workers):
    x = torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    for name, here in (("", LinearGaussian()), ("biased", Biased()), ("wide", LinearGaussian(variance=1.0))):
        remote = workers.denoiser(name)
        assert remote.parametrization is Parametrization.EPS and remote.device.type == "cpu"
        assert torch.equal(remote.denoise(x, 2.0), here.denoise(x, 2.0))
        assert torch.equal(remote.features(x, 2.0), here.features(x, 2.0))
        assert start_scale(remote, 3.0) == start_scale(here, 3.0)


def test_what_does_not_fit_into_a_workers_memory_together_comes_in_parts(workers):
    x = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(workers.denoiser("tight").denoise(x, 2.0), LinearGaussian().denoise(x, 2.0))


def test_features_that_are_to_be_differentiated_are_refused(workers):
    with pytest.raises(ValueError, match="without gradient"):
        workers.denoiser().features(torch.zeros(1, 2, 3, 3, requires_grad=True), 1.0)


def test_no_latents_and_no_such_name_are_refused(workers):
    with pytest.raises(ValueError, match="no latents"):
        workers.denoiser().denoise(torch.zeros(0, 2, 3, 3), 1.0)
    with pytest.raises(ValueError, match="no Denoiser called 'averaging' among those of the source"):
        workers.denoiser("averaging")


def test_latents_may_have_a_history(workers):
    x = torch.ones(2, 2, 3, 3, requires_grad=True)
    assert torch.equal(workers.denoiser().denoise(2 * x, 2.0), LinearGaussian().denoise(2 * x.detach(), 2.0))
