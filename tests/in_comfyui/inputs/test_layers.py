"""Layers that a source reads, by their names."""
import pytest

UNET = ["input_blocks.0", "input_blocks.1", "middle_block", *(f"output_blocks.{number}" for number in range(12))]
TRANSFORMER = [f"joint_blocks.{number}" for number in range(5)]


@pytest.fixture(scope="module")
def inputs(comfyui):
    from mental_averages.nodes import inputs

    return inputs


def test_directions_are_found_in_the_middle_and_the_first_half_of_the_decoder(inputs):
    assert inputs.source_of_directions(UNET) == ["middle_block", *(f"output_blocks.{number}" for number in range(6))]
    assert inputs.source_of_directions(TRANSFORMER) == TRANSFORMER


def test_what_is_memorised_is_read_in_the_first_third_of_the_decoder(inputs):
    assert inputs.source_of_memorisation(UNET) == [f"output_blocks.{number}" for number in range(4)]
    assert inputs.source_of_memorisation(UNET[:5]) == ["output_blocks.0"]
    assert inputs.source_of_memorisation(TRANSFORMER) == ["joint_blocks.2"]
