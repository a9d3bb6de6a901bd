"""AlignedMean, inside inference mode as ComfyUI runs it."""
import logging

import pytest
import torch


@pytest.fixture
def squares(folders):
    """One square on white in four places, made under inference mode."""
    with torch.inference_mode():
        images = torch.ones(4, 48, 48, 3)
        for row, (right, down) in enumerate([(14, 14), (18, 15), (15, 19), (17, 16)]):
            images[row, down : down + 18, right : right + 18] = torch.tensor([0.9, 0.2, 0.1])
    return images


def test_pictures_meet(comfyui, squares):
    from mental_averages.nodes.baselines import AlignedMean

    with torch.inference_mode():
        mean, aligned = AlignedMean.execute(squares, flow_rounds=0, trim=0.0).args
    assert mean.shape == (1, 48, 48, 3) and aligned.shape == squares.shape
    torch.testing.assert_close(mean[0], aligned.mean(0), rtol=0, atol=1e-6)
    assert aligned.std(0).mean() < 0.4 * squares.std(0).mean()


def test_without_rounds_it_is_the_trimmed_mean(comfyui, squares):
    from mental_averages.dma.baselines import trimmed_mean
    from mental_averages.nodes.baselines import AlignedMean

    with torch.inference_mode():
        mean, aligned = AlignedMean.execute(squares, 0, 0, trim=0.3).args
    torch.testing.assert_close(aligned, squares.clone(), rtol=0, atol=1e-5)
    torch.testing.assert_close(mean, trimmed_mean(aligned, 0.3), rtol=0, atol=0)


def test_shapes_that_lie_in_their_alpha_are_seen_on_white(comfyui, folders):
    """Black drawings on nothing are those on a white page, and others than the drawing in white."""
    from mental_averages.nodes.baselines import AlignedMean

    with torch.inference_mode():
        drawn = torch.zeros(3, 32, 32, 4)
        for row in range(3):
            drawn[row, 8 + row : 20 + row, 8:24, 3] = 1
        on_page = (1 - drawn[..., 3:]).expand(-1, -1, -1, 3)
        white = torch.cat([torch.ones(3, 32, 32, 3), drawn[..., 3:]], dim=3)
        found, expected, other = (AlignedMean.execute(images, 1, 0, trim=0.0).args
                                  for images in (drawn, on_page, white))
    assert all(torch.equal(one, same) for one, same in zip(found, expected))
    assert found[0].min() < 0.1 and found[0].max() > 0.9 and (other[0] == 1).all()


def test_an_interrupted_run_is_gone_on_with(bridge, squares, monkeypatch, caplog):
    from mental_averages.nodes import comfyui
    from mental_averages.nodes.baselines import AlignedMean

    with torch.inference_mode():
        whole = AlignedMean.execute(squares, 4, 1, resume=False).args
    states = bridge.run_state_folder()
    assert not states.exists()
    told = []

    def telling(stop_at):
        def tell(progress):
            told.append(progress.message)
            if progress.message == f"aligning, step {stop_at} of 10":
                raise KeyboardInterrupt

        monkeypatch.setattr(comfyui, "progress_bar", lambda: tell)

    telling(5)  # two passes make pictures small and compare them, and the third round has moved them
    with torch.inference_mode(), pytest.raises(KeyboardInterrupt):
        AlignedMean.execute(squares, 4, 1)
    assert len(list(states.glob("*.safetensors"))) == 1
    told.clear()
    telling(0)
    with torch.inference_mode(), caplog.at_level(logging.INFO):
        found = AlignedMean.execute(squares, 4, 1).args
        assert "AlignedMean: resumed at round 2." in caplog.text
        assert told[2] == "aligning, step 3 of 7, iteration 1", "two rounds are left, and the last passes"
        plain = AlignedMean.execute(squares, 4, 1, trim=0.3).args
    assert all(torch.equal(one, other) for one, other in zip(found, whole))
    assert torch.equal(plain[1], whole[1]) and not torch.equal(plain[0], whole[0])
    assert len(list(states.glob("*.safetensors"))) == 1, "the warps are the same whatever the mean leaves out"


def test_bad_inputs(comfyui, squares):
    from mental_averages.nodes.baselines import AlignedMean

    with pytest.raises(ValueError, match="empty batch"):
        AlignedMean.execute(squares[:0])
    with pytest.raises(ValueError, match="trim is 0.5"):
        AlignedMean.execute(squares, trim=0.5)
