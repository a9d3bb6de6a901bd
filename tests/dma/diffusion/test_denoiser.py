"""The protocols against those who keep them: arguments have the same names in the same order."""
import inspect

import pytest
import torch
from toys import LinearGaussian

from mental_averages.dma.diffusion import (
    Denoiser,
    EmbeddingDenoiser,
    LayeredDenoiser,
    Parametrization,
    of_rows,
    rounding_of,
)
from mental_averages.dma.models import DiffusersDenoiser


def arguments_of(function):
    return [(parameter.name, parameter.kind, parameter.default)
            for parameter in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("kind", [LinearGaussian, DiffusersDenoiser])
def test_denoisers_take_what_the_protocol_says(kind):
    for name in ("denoise", "features"):
        assert arguments_of(getattr(kind, name)) == arguments_of(getattr(Denoiser, name))


def test_more_than_a_denoiser_is_a_denoiser():
    for protocol in (LayeredDenoiser, EmbeddingDenoiser):
        assert Denoiser in protocol.__mro__ and protocol.denoise is Denoiser.denoise
    assert set(Denoiser.__annotations__) == {"parametrization", "device"}


def test_rows_are_those_of_a_denoiser_that_knows_them():
    class Knowing(LinearGaussian):
        def of(self, rows):
            return list(rows)

    assert of_rows(Knowing(), slice(2, 4)) == [2, 3] and of_rows(Knowing(), [4, 0]) == [4, 0]
    plain = LinearGaussian()
    assert of_rows(plain, slice(2, 4)) is plain


def test_rows_of_a_batch_do_not_know_of_each_other():
    denoiser, x = LinearGaussian(), torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    assert denoiser.parametrization is Parametrization.EPS
    for method in (denoiser.denoise, denoiser.features):
        torch.testing.assert_close(method(x, 1.5)[1:2], method(x[1:2], 1.5))


def test_rounding_is_nothing_where_a_denoiser_does_not_know_it():
    class Coarse:
        rounding = 0.03

    assert rounding_of(Coarse()) == 0.03 and rounding_of(object()) == 0.0
