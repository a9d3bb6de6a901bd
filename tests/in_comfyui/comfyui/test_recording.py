"""What has been recorded of finished latents, by their values."""
import torch


def test_only_so_many_are_remembered(bridge):
    from mental_averages.nodes.comfyui import _recording

    records = _recording._Records(3)
    rows = torch.arange(5.0)[:, None]
    records.put(rows, torch.arange(5.0), (1.0,))
    assert [each and each.score for each in records.of(rows)] == [None, None, 2.0, 3.0, 4.0]
    records.put(rows[2:3], torch.tensor([9.0]), (1.0,))
    records.put(rows[:1], torch.tensor([8.0]), (1.0,))
    assert [each and each.score for each in records.of(rows)] == [8.0, None, 9.0, None, 4.0]


def test_latents_are_found_in_every_form_that_they_are_carried_in(bridge):
    rows = torch.randn(2, 16, 4, 4, generator=torch.Generator().manual_seed(77))
    bridge.remember(rows, torch.tensor([1.0, 2.0]), (0.5,))
    for carried in (rows, rows.unsqueeze(2), rows.double(), rows.transpose(2, 3).contiguous().transpose(2, 3)):
        assert [each.score for each in bridge.recorded(carried)] == [1.0, 2.0]
    assert bridge.recorded(rows + 1e-3) == [None, None]
