"""The tiny network read as a model of every prediction."""
import pytest
import torch
from inversions import read_as


@pytest.fixture
def flow_model(tiny_model):
    """The tiny network read as a flow model, whose noise levels end at exactly 1."""
    from comfy.model_sampling import CONST, ModelSamplingDiscreteFlow

    return read_as(tiny_model, ModelSamplingDiscreteFlow, CONST)


@pytest.fixture
def v_model(tiny_model):
    from comfy.model_sampling import V_PREDICTION, ModelSamplingDiscrete

    return read_as(tiny_model, ModelSamplingDiscrete, V_PREDICTION)


@pytest.fixture
def models(tiny_model, v_model, flow_model):
    return {"eps": tiny_model, "v": v_model, "flow": flow_model}


@pytest.fixture
def texts():
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        return [[[torch.randn(1, 7, 16, generator=generator), {}]] for _ in range(2)]
