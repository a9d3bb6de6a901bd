"""What to bear in mind of scores beside those of references."""
from mental_averages.dma.statistics import cautions, listed


def test_nothing_is_said_of_nothing():
    assert cautions({"false_positive_rate": 0.05}, 19) == []


def test_what_is_its_own_reference_and_too_few_others_are_told():
    settings = {"false_positive_rate": 0.05, "among_references": [1, 4]}
    (enough,), (few,) = cautions(settings, 20), cautions(settings, 19)
    assert enough.startswith("1, 4: among the references, too") and "too few" not in enough
    assert "others alone, which are too few for a flag at this rate; the threshold" in few


def test_what_was_sampled_otherwise_is_told_after_it():
    found = cautions({"false_positive_rate": 0.05, "among_references": [1],
                      "sampled_unlike_references": ["2 in 20 steps"]}, 30)
    assert len(found) == 2 and found[1].startswith("Sampled otherwise than every reference: 2 in 20 steps. The rate")


def test_reports_that_count_from_0_are_told_with_the_numbers_of_marks_and_tables():
    """What was saved as sampled_otherwise counts from 0."""
    (found,) = cautions({"sampled_otherwise": ["0, 9, 10 … in 20 steps instead of 8", "1 with other prompts"]}, 30)
    assert ": 1, 10, 11 … in 20 steps instead of 8; 2 with other prompts. The rate" in found


def test_long_lists_end_in_dots():
    assert listed(range(1, 9)) == "1, 2, 3, 4, 5, 6, 7, 8" and listed(range(1, 99)).endswith("7, 8 …")
