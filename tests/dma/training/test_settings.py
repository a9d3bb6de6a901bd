import dataclasses

import pytest
from trainings import Toy, small

from mental_averages.dma.training import TrainingSettings


@pytest.mark.parametrize("change, message", [
    (dict(steps=0), "steps is 0"), (dict(learning_rate=0.0), "learning_rate is 0"),
    (dict(batch_size=0), "batch_size is 0"),
    (dict(learning_rate=float("nan")), "learning_rate is nan"), (dict(seed=-1), "seed is -1"),
    (dict(first_decay=1.0), "decay rates"), (dict(epsilon=0.0), "epsilon")])
def test_senseless_settings_are_refused(change, message):
    toy = Toy()
    with pytest.raises(ValueError, match=message):
        toy.train(small(**change), tell=lambda event: pytest.fail("work was started"))


def test_the_constants_of_adamw_are_checked_too():
    TrainingSettings().check()
    for change, message in ((dict(second_decay=-0.1), "decay rates"), (dict(weight_decay=-0.1), "weight_decay"),
                            (dict(learning_rate=float("inf")), "learning_rate is inf")):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(TrainingSettings(), **change).check()


def test_a_saved_state_has_to_agree_in_everything_but_the_number_of_steps():
    key = small().key()
    assert "steps" not in key and {"steps", *key} == {field.name for field in dataclasses.fields(TrainingSettings)}
    assert small(steps=5).key() == key
    for change in (dict(learning_rate=1.0), dict(batch_size=1), dict(seed=4), dict(first_decay=0.5),
                   dict(second_decay=0.5), dict(epsilon=1.0), dict(weight_decay=0.5)):
        assert small(**change).key() != key
