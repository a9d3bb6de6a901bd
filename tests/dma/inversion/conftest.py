"""Every parametrisation of a model."""
import pytest

from mental_averages.dma.diffusion import Parametrization


@pytest.fixture(params=list(Parametrization), ids=lambda parametrization: parametrization.value)
def parametrization(request):
    return request.param
