"""The best of many scores is not flattered by having been chosen."""
import importlib.util
import sys

import pytest
import torch

import run_benchmark

FOLDER = run_benchmark.BENCHMARKS / "representation"


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(FOLDER))
    before = set(sys.modules)
    specification = importlib.util.spec_from_file_location("memorisation_benchmark", FOLDER / "memorisation.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    yield module
    sys.path.remove(str(FOLDER))
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(FOLDER)):
            del sys.modules[name]


def drawn(bench, generator, apart=0.0):
    return bench.Scores(torch.randn(100, generator=generator) + apart, torch.randn(400, generator=generator))


def test_best_of_scores_that_know_nothing_is_worth_nothing(bench):
    generator = torch.Generator().manual_seed(0)
    found = [bench.best_of({str(number): drawn(bench, generator) for number in range(30)}) for _ in range(20)]
    assert abs(sum(each["auroc_best"] for each in found) / 20 - 0.5) < 0.03
    assert sum(each["tpr_best"] for each in found) / 20 < 0.03


def test_best_of_scores_is_the_one_that_tells_them_apart(bench, capsys):
    generator = torch.Generator().manual_seed(0)
    scores = {str(number): drawn(bench, generator) for number in range(5)}
    scores["telling"] = drawn(bench, generator, 6.0)
    assert bench.best_of(scores)["auroc_best"] > 0.99 and "| telling |" in capsys.readouterr().out
