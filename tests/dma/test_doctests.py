import doctest
import importlib

import pytest

import pack


@pytest.mark.parametrize("name", sorted(path.stem for path in (pack.ROOT / "dma").glob("[a-z]*.py")))
def test_examples_in_docstrings(name):
    module = importlib.import_module(f"mental_averages.dma.{name}")
    import torch

    assert doctest.testmod(module, extraglobs={"torch": torch}).failed == 0
