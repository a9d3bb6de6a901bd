import pytest
import torch
from pictures import check_picture
from reports import saved

from mental_averages.dma.figures import plot_training
from mental_averages.dma.training import TrainingReport


def test_plot():
    picture = plot_training(saved("training"), width=400)
    check_picture(picture, 400)
    assert picture.shape == (1, 200, 400, 3) and 0 <= picture.min() < picture.max() <= 1


@pytest.mark.parametrize("losses", [[0.5], [0.0, 0.0], [1.0] * 2000])
def test_one_step_no_loss_and_many_steps(losses):
    check_picture(plot_training(TrainingReport({}, losses), width=400), 400)


def test_other_losses_and_another_node_look_different():
    picture = plot_training(saved("training"))
    assert not torch.equal(picture, plot_training(saved("training", losses=[0.5, 0.25, 0.375, 0.25])))
    assert not torch.equal(picture, plot_training(saved("training", settings={"node": "TrainModeEmbedding"})))


def test_nothing_to_plot():
    with pytest.raises(ValueError, match="has no steps"):
        plot_training(TrainingReport({}, []))
