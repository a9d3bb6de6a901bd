from dataclasses import dataclass
from typing import NamedTuple

import torch
from single_precision_device import DEVICE, pretended

from mental_averages.dma.distributed._on_cpu import on_cpu
from mental_averages.dma.statistics import RunningMoments


class Pair(NamedTuple):
    first: torch.Tensor
    name: str


@dataclass(frozen=True)
class Inner:
    value: torch.Tensor
    parts: tuple


def tensors_of(value):
    if isinstance(value, torch.Tensor):
        yield value
    for item in (value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple))
                 else vars(value).values() if hasattr(value, "__dict__") else ()):
        yield from tensors_of(item)


def test_all_tensors_come_to_the_cpu_in_values_of_the_same_kind():
    with pretended():
        there = [torch.full((2,), float(number)).to(DEVICE) for number in range(4)]
        there[0].requires_grad_()
        value = {"list": [there[0], 3], "pair": Pair(there[1], "name"), "inner": Inner(there[2], (there[3], None))}
        found = on_cpu(value)
    assert [each.device.type for each in tensors_of(found)] == ["cpu"] * 4
    assert [each[0].item() for each in tensors_of(found)] == [0, 1, 2, 3]
    assert not any(each.requires_grad for each in tensors_of(found))
    assert type(found["pair"]) is Pair and found["pair"].name == "name"
    assert type(found["inner"]) is Inner and type(found["inner"].parts) is tuple and found["inner"].parts[1] is None


def test_moments_stay_what_they_are():
    moments = RunningMoments.of(torch.randn(5, 2))
    found = on_cpu((moments, moments))[1]
    assert isinstance(found, RunningMoments) and found.count == 5 and torch.equal(found.mean, moments.mean)


def test_of_a_part_of_a_tensor_nothing_else_is_sent():
    whole = torch.arange(100.0)
    part = on_cpu({"part": whole[2:4]})["part"]
    assert torch.equal(part, whole[2:4]) and part.untyped_storage().nbytes() == 8
    assert on_cpu(whole).data_ptr() == whole.data_ptr()
