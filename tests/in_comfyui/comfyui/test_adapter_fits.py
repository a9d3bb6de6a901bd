"""Which patches of LoRA files are of their layers' size, against what core makes of them."""
import logging

import pytest
import torch


def test_what_is_of_a_layer_s_size(bridge):
    from comfy.weight_adapter import LoRAAdapter

    fits = bridge._adapter_fits.fits_layer
    weight = torch.zeros(6, 4, 3, 3)

    def patch(up, down, middle=None, offset=None, reshape=None):
        return 1.0, LoRAAdapter(set(), (up, down, None, middle, None, reshape)), 1.0, offset, None

    assert fits(patch(torch.zeros(6, 2, 1, 1), torch.zeros(2, 4, 3, 3)), weight)
    assert fits(patch(torch.zeros(6, 2), torch.zeros(2, 4, 1, 1), torch.zeros(2, 2, 3, 3)), weight)
    assert not fits(patch(torch.zeros(6, 2), torch.zeros(2, 4, 1, 1), torch.zeros(2, 2, 1, 1)), weight)
    assert not fits(patch(torch.zeros(6, 2, 1, 1), torch.zeros(2, 8, 3, 3)), weight)
    assert not fits(patch(torch.zeros(6, 3), torch.zeros(2, 36)), weight)
    half = torch.zeros(6, 4, dtype=torch.half)
    assert fits(patch(torch.zeros(2, 1), torch.zeros(1, 4), offset=(0, 2, 2)), half)
    assert not fits(patch(torch.zeros(6, 1), torch.zeros(1, 4), offset=(0, 2, 2)), half)
    assert fits(patch(torch.zeros(9, 1), torch.zeros(1, 4), reshape=[9, 4]), half), "core makes the layer larger"
    assert fits(patch(torch.zeros(9, 1), torch.zeros(1, 4)), half.to(torch.uint8)), "packed: not known"
    difference = torch.zeros(6, 5)
    assert not fits((1.0, ("diff", (difference,)), 1.0, None, None), half)
    assert fits((1.0, ("diff", (difference[:, :4],)), 1.0, None, None), half)


def adapters():
    """By name: an adapter for a layer of 8 x 12 or of 8 x 4 x 3 x 3, and for one of the other shape of as many
    numbers."""
    import comfy.weight_adapter as known
    from comfy.weight_adapter.boft import BOFTAdapter
    from comfy.weight_adapter.glora import GLoRAAdapter

    draw = torch.Generator().manual_seed(0)

    def of(*shape):
        return torch.randn(shape, generator=draw)

    def loha(rows, columns):
        return known.LoHaAdapter(set(), (of(rows, 2), of(2, columns), None, of(rows, 3), of(3, columns), None, None,
                                         None))

    def tucker(rows, columns):
        return known.LoHaAdapter(set(), (of(2, rows), of(2, columns), None, of(3, rows), of(3, columns),
                                         of(2, 2, 3, 3), of(3, 3, 3, 3), None))

    def lokr(rows, columns, whole=True):
        second = (of(rows // 2, columns // 2), None, None) if whole else (None, of(rows // 2, 2), of(2, columns // 2))
        return known.LoKrAdapter(set(), (of(2, 2), second[0], None, None, None, *second[1:], None, None))

    def lokr_of_kernels(rows, columns):
        return known.LoKrAdapter(set(), (None, None, None, of(2, 1), of(1, 2), of(2, rows // 2), of(2, columns // 2),
                                         of(2, 2, 3, 3), None))

    def lora(rows, columns):
        return known.LoRAAdapter(set(), (of(rows, 2), of(2, columns), None, None, None, None))

    def oft(rows, columns):
        return known.OFTAdapter(set(), (of(rows // 4, 4, 4), None, None, None))

    def boft(rows, columns):
        return BOFTAdapter(set(), (of(1, rows // 4, 4, 4), None, torch.tensor(0.0), None))

    def glora(rows, columns):
        return GLoRAAdapter(set(), (of(columns, 2), of(2, columns), of(rows, 2), of(2, columns), None, None))

    plain = {"LoRA": lora, "LoHa": loha, "LoKr": lokr, "LoKr of factors": lambda *shape: lokr(*shape, whole=False),
             "OFT": oft, "BOFT": boft, "GLoRA": glora}
    kernels = {"LoHa of kernels": tucker, "LoKr of kernels": lokr_of_kernels}
    return {**{name: ((8, 12), make) for name, make in plain.items()},
            **{name: ((8, 4, 3, 3), make) for name, make in kernels.items()}}


NAMES = ["LoRA", "LoHa", "LoKr", "LoKr of factors", "OFT", "BOFT", "GLoRA", "LoHa of kernels", "LoKr of kernels"]


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_adapter_is_measured_as_core_uses_it(bridge, name, caplog):
    """What fits changes the layer; what does not core leaves out, with an error in its log, or adds in a shape that it
    was not made for."""
    shape, make = adapters()[name]

    def changes(adapter):
        weight = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        with caplog.at_level(logging.ERROR):
            caplog.clear()
            found = adapter.calculate_weight(weight.clone(), "layer", 1.0, 1.0, None, lambda values: values)
        return not caplog.records and not torch.equal(found, weight)

    def fits(adapter):
        return bridge._adapter_fits.fits_layer((1.0, adapter, 1.0, None, None), torch.zeros(shape))

    right = make(*shape[:2])
    # Core 0.30 cannot multiply LoKr's kernels of factors as they lie in memory, whatever their size.
    assert fits(right) and (changes(right) or name == "LoKr of kernels")
    for rows, columns in ((16, 12), (8, 24), (24, 4)):  # the last has as many numbers as 8 x 12
        other = make(rows, columns)
        if name in ("OFT", "BOFT") and rows == 8:
            assert fits(other) and changes(other)  # it turns outputs, whatever the inputs are
        else:
            assert not fits(other)
