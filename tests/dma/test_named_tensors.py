import torch

from mental_averages.dma.named_tensors import below, under


def test_parts_come_back_and_nothing_else():
    parts = {"a.": {"x": torch.ones(1), "b.x": torch.ones(2)}, "ab.": {"x": torch.ones(3)}, "c.": {}}
    together = {"x": torch.zeros(1)}
    for prefix, tensors in parts.items():
        together |= under(prefix, tensors)
    assert sorted(together) == ["a.b.x", "a.x", "ab.x", "x"]
    for prefix, tensors in parts.items():
        found = below(prefix, together)
        assert found.keys() == tensors.keys() and all(found[name] is tensors[name] for name in found)
