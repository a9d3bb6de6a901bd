"""What nodes add to errors of the library: what to connect, behind what is wrong."""
import pytest
import torch

SHAPE = (4, 8, 8)


class Detached:
    """A Denoiser whose features have no gradient."""

    device = torch.device("cpu")

    def __init__(self):
        from mental_averages.dma.diffusion import Parametrization

        self.parametrization = Parametrization.EPS

    def features(self, x, sigma):
        return x.detach() ** 2


@pytest.fixture
def ours(comfyui):
    from mental_averages.nodes import comfyui as room

    return room


def test_advice_follows_what_is_wrong(ours):
    with pytest.raises(ValueError, match=r"^No\. Try yes\.$") as caught, ours.advising("Try yes."):
        raise ValueError("No.")
    assert str(caught.value.__cause__) == "No."


def test_only_faults_of_the_gradient_are_advised_on(ours):
    from mental_averages.dma.models import check_gradient

    with (pytest.raises(ValueError, match="cannot be differentiated.*Connect the model without.*layer in HSpaceHook"),
          ours.advising_on_gradients(ours.OTHER_LAYER)):
        check_gradient(Detached(), SHAPE, 1.0)
    with pytest.raises(ValueError, match=r"^Too small\.$"), ours.advising_on_gradients():
        raise ValueError("Too small.")
    with pytest.raises(KeyboardInterrupt), ours.advising_on_gradients():
        raise KeyboardInterrupt


def test_noise_levels_that_are_no_schedule_say_what_to_connect(tiny_model):
    from mental_averages.nodes.inputs import schedule

    for sigmas in (torch.tensor([1.0]), torch.tensor([2.0, 1.0, 1.5])):
        with pytest.raises(ValueError, match="Connect the sigmas of an ordinary scheduler"):
            schedule(tiny_model, "normal", 4, sigmas)
    assert schedule(tiny_model, "normal", 4, torch.tensor([0.0, 1.0, 2.0])).tolist() == [2, 1, 0]
