import pytest
import torch
from ray_toys import source_on, sources
from toys import LinearGaussian

from mental_averages.dma.distributed import on_devices


def test_on_one_device_it_is_the_denoiser_itself():
    made = []

    def source(device):
        made.append(device)
        return LinearGaussian()

    with on_devices(source, ["cuda:1"]) as denoiser:
        assert type(denoiser) is LinearGaussian and made == ["cuda:1"]
    with on_devices(lambda device: sources(), ["cpu"], name="wide") as denoiser:
        assert denoiser.variance == 1.0


@pytest.mark.parametrize("devices", [[], ["cuda:0", "cpu"]])
def test_devices_are_of_one_kind(devices):
    with pytest.raises(ValueError, match="one or more of one kind"), on_devices(lambda device: None, devices):
        pass


@pytest.mark.parametrize("devices", [["cuda:1", "cuda:2"], ["cuda:0", "cuda:0"], ["cuda", "cuda"]])
def test_several_cards_are_the_first_ones(devices):
    """Which Ray gives out: others would be taken without a word."""
    with pytest.raises(ValueError, match="from cuda:0 to cuda:1, once each"), on_devices(dict, devices):
        pass


def test_on_several_there_is_a_worker_for_each(ray):
    x = torch.ones(1, 2, 3, 3)
    with on_devices(source_on, ["cpu", "cpu"], name="wide") as denoiser:
        assert torch.equal(denoiser.denoise(x, 2.0), LinearGaussian(variance=1.0).denoise(x, 2.0))
        assert len(set(denoiser.workers.processes())) == 2
    assert denoiser.workers.hired == [] and ray.is_initialized()


def test_a_name_that_the_source_does_not_have_is_refused_on_one_device():
    for source in (lambda device: LinearGaussian(), lambda device: sources()):
        with pytest.raises(ValueError, match="no Denoiser called 'averaging'"), \
                on_devices(source, ["cpu"], name="averaging"):
            pass


def test_several_of_a_kind_that_ray_does_not_give_out_are_refused():
    with pytest.raises(ValueError, match="of the kind cpu, cuda, xpu"), on_devices(dict, ["mps:0", "mps:1"]):
        pass
