"""Features that any machine and library makes alike, for numbers that other packages gave."""
import torch


def wavy(count, width, shift):
    """(count, width) in fp64: sines of different frequencies, one for each row and column, around `shift`."""
    rows, columns = torch.arange(count, dtype=torch.float64)[:, None], torch.arange(width, dtype=torch.float64)
    return torch.sin(1.7 * rows + 0.9 * columns**1.5 + 0.3 * rows * columns + shift) + shift
