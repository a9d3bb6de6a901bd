import pytest
import torch

from mental_averages.dma.statistics import row_digests


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8])
def test_rows_are_told_apart_by_any_number(dtype):
    rows = torch.randint(256, (1, 3, 5, 2), generator=torch.Generator().manual_seed(0)).to(dtype).repeat(31, 1, 1, 1)
    for row, place in enumerate(range(30), start=1):
        rows[row].view(-1)[place] += 1
    digests = row_digests(rows)
    assert len(set(digests)) == 31 and row_digests(rows[7:8]) == digests[7:8]
    assert row_digests(rows.transpose(1, 2).contiguous().transpose(1, 2)) == digests


def test_zero_is_zero_with_either_sign():
    one, other = row_digests(torch.tensor([[0.0, 1.0], [-0.0, 1.0]]))
    assert one == other
