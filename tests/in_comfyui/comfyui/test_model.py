"""What nodes look at in a ComfyUI MODEL."""
import pytest


def test_names_of_layers(bridge, demo, tiny_model):
    assert bridge.resolve_layer(tiny_model, "auto") == "middle_block"
    assert bridge.layer_names(tiny_model) == [*(f"input_blocks.{i}" for i in range(4)), "middle_block",
                                          *(f"output_blocks.{i}" for i in range(4))]
    with pytest.raises(ValueError, match="no layer 'output_blocks.9'.*middle_block"):
        bridge.resolve_layer(tiny_model, "output_blocks.9")
