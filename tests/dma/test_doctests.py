import doctest
import importlib

import pytest

import pack

MODULES = sorted(".".join(path.relative_to(pack.ROOT).with_suffix("").parts)
                 for path in (pack.ROOT / "dma").rglob("*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    module = importlib.import_module(f"mental_averages.{name}")
    import torch

    assert doctest.testmod(module, extraglobs={"torch": torch}).failed == 0
