"""MedoidSelect; on features of the demo model it is tested with CaptureHSpace."""
import pytest
import torch


def test_features_of_other_pictures_are_refused(comfyui):
    from mental_averages.dma.hspace import Features
    from mental_averages.nodes.baselines import MedoidSelect

    with pytest.raises(ValueError, match="3 pictures but features of 2"):
        MedoidSelect.execute(torch.zeros(3, 8, 8, 3), Features(torch.zeros(2, 5), "middle_block", "none", 1.0))
