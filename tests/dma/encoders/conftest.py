import logging
import shutil

import pytest
import torch
from encoder_folders import WRITERS, write_vocabulary

from mental_averages.dma.encoders import load_encoder


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    logging.getLogger("transformers").setLevel(logging.ERROR)
    root = tmp_path_factory.mktemp("encoders")
    return {kind: write(root / kind) for kind, write in WRITERS.items()}


@pytest.fixture
def clip_folder(folders, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(folders["clip"], tmp_path / "copy")


@pytest.fixture
def plain_clip(clip_folder):
    """A copy whose tokenizer is in the older form, with 60 words that are joined of letters."""
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (clip_folder / name).unlink(missing_ok=True)
    first, second = "abcdefghij", "uvwxyz"
    write_vocabulary(clip_folder, [(one, other + "</w>") for one in first for other in second])
    return clip_folder


@pytest.fixture(scope="module")
def images():
    return torch.rand(5, 40, 50, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def clip(folders):
    return load_encoder(folders["clip"])


@pytest.fixture(scope="module")
def blip(folders):
    return load_encoder(folders["blip"])
