"""How coarsely a model computes, by its precision and by where it lies."""
import types

import pytest
import torch


@pytest.mark.parametrize("dtype, device, rounding", [
    (torch.float32, "cpu", 1e-5), (torch.float32, "cuda", 4 * 2**-10),  # convolutions in TF32
    (torch.float16, "cpu", 4 * 2**-10), (torch.float16, "cuda", 4 * 2**-10), (torch.bfloat16, "cuda", 4 * 2**-7),
    (torch.float8_e4m3fn, "cuda", 4 * 2**-7),
])
def test_rounding(bridge, dtype, device, rounding):
    model = types.SimpleNamespace(model=types.SimpleNamespace(get_dtype=lambda: dtype),
                                  load_device=torch.device(device))
    assert bridge.rounding_of_model(model) == pytest.approx(rounding)
