"""What every picture of results has to be."""
import torch


def check_picture(image, width):
    """An image tensor (1, H, width, 3) in [0, 1] with something on it."""
    assert image.ndim == 4 and image.shape[0] == 1 and image.shape[2:] == (width, 3) and image.dtype == torch.float32
    assert image.isfinite().all() and image.min() >= 0 and image.max() <= 1
    assert image.min() < 0.5 and image.std() > 0.02, "nothing is drawn"
