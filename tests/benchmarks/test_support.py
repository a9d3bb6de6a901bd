"""What benchmarks measure with, on numbers that can be checked by hand."""
import argparse
import functools
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import support
import torch


def test_pairwise_distance_is_the_mean_over_pairs():
    features = torch.nn.functional.normalize(torch.randn(5, 7, generator=torch.Generator().manual_seed(0)), dim=1)
    pairs = [1 - float(features[i] @ features[j]) for i in range(5) for j in range(i)]
    assert support.pairwise_distance(features) == pytest.approx(np.mean(pairs), abs=1e-6)


def test_worth_leaves_out_what_a_picture_was_made_of():
    pictures = torch.rand(4, 8, 8, 3, generator=torch.Generator().manual_seed(0))
    features = torch.nn.functional.normalize(pictures.flatten(1), dim=1)
    found = support.worth(pictures, features, pictures, features, torch.eye(4).bool())
    assert found.representativeness == pytest.approx(found.consistency, rel=1e-4)


def test_sharpness_of_a_ramp_is_zero_and_of_a_checkerboard_large():
    ramp = torch.linspace(0, 1, 8)[None, None, :, None].expand(1, 8, 8, 3)
    board = (torch.arange(8)[:, None] + torch.arange(8)).remainder(2).float()[None, :, :, None].expand(1, 8, 8, 3)
    assert support.sharpness(ramp).item() == pytest.approx(0, abs=1e-10)
    assert support.sharpness(board).item() == pytest.approx(16 * 36 / 35, rel=1e-3)  # 4 or -4 at each of 36 places


def test_worth_of_plain_samples_among_themselves():
    pictures = torch.rand(4, 8, 8, 3, generator=torch.Generator().manual_seed(0))
    features = torch.nn.functional.normalize(pictures.flatten(1), dim=1)
    found = support.worth(pictures, features, pictures, features)
    assert found.sharpness == 1
    # The distance from itself, which is none, is among those to all samples.
    assert found.representativeness == pytest.approx(found.consistency * 3 / 4, rel=1e-4)


def test_psnr_of_a_known_error():
    expected = torch.full((2, 4, 4, 3), 0.5)
    found = expected + torch.tensor([0.1, 0.0])[:, None, None, None]
    assert support.picture_psnr(found, expected).tolist() == pytest.approx([20, 100], abs=1e-4)


def test_interval_holds_the_mean_and_is_none_for_equal_values():
    mean, low, high = support.interval(np.array([1.0, 2.0, 3.0, 4.0]))
    assert low < mean == 2.5 < high
    assert support.with_interval(np.full(3, 12.0)) == "12.0 (12.0 to 12.0)"


@pytest.mark.parametrize("quick, size", [(False, 8), (True, 2)])
def test_left_out_options_are_filled_in(quick, size):
    arguments = argparse.Namespace(quick=quick, count=None, seed=0)
    support.fill_in(arguments, count=(8, 2), seed=(5, 6))
    assert (arguments.count, arguments.seed) == (size, 0)


def test_gradient_is_that_of_the_sum_of_squares():
    x = torch.tensor([[1.0, -2.0]])
    found, gradient = support.with_gradient(lambda latents: 3 * latents, x)
    assert found.tolist() == [[3, -6]] and gradient.tolist() == [[18, -36]]


def test_complete_runs_are_read_as_they_were_saved(tmp_path):
    runs = [support.NaiveRun("red heart", seed, 8, 5.0, [0.5, 0.25], 12.6, torch.arange(4.0) + seed,
                             support.demo_weights()) for seed in (0, 2)]
    for run in runs:
        run.save(tmp_path)
    found = support.naive_runs("red heart", 3, tmp_path)
    assert [(run.seed, run.seconds) for run in found] == [(0, 13), (2, 13)]
    assert found[0].residual_after == [0.5, 0.25]
    assert found[1].latents((1, 2, 2)).tolist() == [[[[2, 3], [4, 5]]]]
    assert [run.seed for run in support.naive_runs("red heart", 2, tmp_path)] == [0]
    assert support.naive_runs("blue heart", 3, tmp_path) == []


def test_complete_runs_of_other_weights_are_left_out(tmp_path):
    support.NaiveRun("red heart", 0, 8, 5.0, [0.5], 1.0, torch.zeros(4), "other weights").save(tmp_path)
    assert support.naive_runs("red heart", 1, tmp_path) == []


def test_processes_share_the_cores():
    with support.processes(1) as pool:
        assert pool.submit(torch.get_num_threads).result() >= 1


def test_processes_have_no_more_threads_than_this_one():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with support.processes(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 1
    finally:
        torch.set_num_threads(before)


def test_too_small_numbers_are_refused_before_long_work():
    support.check_least(argparse.Namespace(subsets=2), subsets=2)
    with pytest.raises(SystemExit, match="--subsets is 1, but the figures take 2 or more"):
        support.check_least(argparse.Namespace(subsets=1), subsets=2)


class TestKept:
    @staticmethod
    def run(folder, tasks, function=None, **options):
        arguments = argparse.Namespace(keep=folder, json=None, workers=1, **options)
        with ThreadPoolExecutor(1) as pool:
            return support.results_of(pool, function or squared, tasks, arguments)

    @pytest.fixture(autouse=True)
    def _nothing_asked(self):
        ASKED.clear()

    def test_a_later_run_takes_what_is_done(self, tmp_path):
        assert self.run(tmp_path, [2, 3], power=2) == [4, 9]
        assert self.run(tmp_path, [2, 3, 4], power=2) == [4, 9, 16]
        assert ASKED == [2, 3, 4]

    def test_what_was_done_before_a_stop_is_kept(self, tmp_path):
        with pytest.raises(ZeroDivisionError):
            self.run(tmp_path, [5, 0], power=-1)
        ASKED.clear()
        assert self.run(tmp_path, [5], power=-1) == [0.2]
        assert ASKED == []

    @pytest.mark.parametrize("options", [dict(power=3), dict(power=2, other="x")])
    def test_other_options_are_another_run(self, tmp_path, options):
        self.run(tmp_path, [2], power=2)
        self.run(tmp_path, [2], **options)
        assert ASKED == [2, 2]

    def test_another_value_of_the_function_is_another_run(self, tmp_path):
        assert self.run(tmp_path, [2], functools.partial(squared, more=1), power=2) == [5]
        assert self.run(tmp_path, [2], functools.partial(squared, more=2), power=2) == [6]

        assert self.run(tmp_path, [2], functools.partial(twice_given, 3), power=2) == [7]
        assert self.run(tmp_path, [2], functools.partial(twice_given, 4), power=2) == [8]

    def test_a_function_of_the_same_name_in_another_benchmark_is_another(self, tmp_path):
        other = types.FunctionType(squared.__code__.replace(co_filename="other.py"), globals(), argdefs=(5,))
        assert self.run(tmp_path, [2], power=2) == [4] and self.run(tmp_path, [2], other, power=2) == [9]

    @pytest.mark.parametrize("inside", ["", "folder/weights"])
    def test_a_file_of_another_content_is_another_run(self, tmp_path, inside):
        file = tmp_path / "files" / inside if inside else tmp_path / "file"
        file.parent.mkdir(exist_ok=True, parents=True)
        option = tmp_path / "files" if inside else file
        for content in ("a", "a b"):
            file.write_text(content)
            self.run(tmp_path / "kept", [2], power=2, checkpoint=option)
            self.run(tmp_path / "kept", [2], power=2, checkpoint=option)
        assert ASKED == [2, 2]

    def test_a_folder_of_data_is_filled_with_what_is_always_the_same(self, tmp_path):
        for number in range(2):
            self.run(tmp_path / "kept", [2], power=2, data=tmp_path / "data")
            (tmp_path / "data").mkdir(exist_ok=True)
            (tmp_path / "data" / f"{number}").write_text("rendered")
        assert ASKED == [2]

    def test_what_results_come_from_is_code_weights_and_complete_runs(self, tmp_path, monkeypatch):
        monkeypatch.setattr(support._tasks, "ROOT", tmp_path)
        (tmp_path / "benchmarks").mkdir()
        hashes = set()
        for name in ("code.py", "weights.safetensors", "run.json", "picture.png"):
            (tmp_path / "benchmarks" / name).write_text("x")
            hashes.add(support._tasks._code.__wrapped__())
        assert len(hashes) == 3

    def test_other_code_is_another_run(self, tmp_path, monkeypatch):
        self.run(tmp_path, [2], power=2)
        monkeypatch.setattr(support._tasks, "_code", lambda: "other")
        self.run(tmp_path, [2], power=2)
        assert ASKED == [2, 2]

    def test_without_a_folder_nothing_is_kept(self):
        assert self.run(None, [2, 2], power=2) == [4, 4]
        assert ASKED == [2, 2]


ASKED: list[int] = []


def squared(task, arguments, more=0):
    ASKED.append(task)
    return task**arguments.power + more


def twice_given(more, task, arguments):
    return squared(task, arguments, more)
