import json

import pytest
from hypothesis import given, settings, strategies as st
from reports import TRAINING, changed

from mental_averages.dma.training import TrainingReport, running_mean


def test_a_saved_file_is_read_and_written_back_the_same():
    found = TrainingReport.from_json(TRAINING)
    assert found == TrainingReport({"node": "TrainModeLoRA", "steps": 4, "learning_rate": 1e-4},
                                   [0.5, 0.25, 0.375, 0.125], 2.0)
    assert found.to_json() == json.dumps(json.loads(TRAINING), indent=1)
    assert TrainingReport.from_json(found.to_json()) == found


@pytest.mark.parametrize("text, message", [
    ("{", "not JSON"), ('{"format": "other"}', "not a report of a training"),
    (changed(TRAINING, losses=None), "damaged"), (changed(TRAINING, losses=["much"]), "damaged"),
    (changed(TRAINING, remove=["seconds"]), "damaged")])
def test_other_texts_are_no_report(text, message):
    with pytest.raises(ValueError, match=message):
        TrainingReport.from_json(text)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), max_size=30), st.integers(1, 40))
def test_running_mean_is_that_of_the_last_values(values, window):
    expected = [sum(rows := values[max(0, end - window):end]) / len(rows) for end in range(1, len(values) + 1)]
    assert running_mean(values, window) == pytest.approx(expected, abs=1e-6)


def test_a_window_of_one_changes_nothing():
    assert running_mean([2.0, 4.0], 1) == [2.0, 4.0]
