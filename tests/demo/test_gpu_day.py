"""The one command that trains everything by the clock, rehearsed with small networks on made-up pictures."""
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

import pack

sys.path.insert(0, str(pack.ROOT / "demo"))
import archive
import clip_model
import dataset
import networks
import transformer
from installing import child_variables


@pytest.mark.skipif(shutil.which("bash") is None or shutil.which("timeout") is None, reason="it is a shell script")
def test_rehearsal(comfyui, tmp_path):
    """Every lever is pulled once. Ten seconds, which a rehearsal has if it is told no other number, are less than the
    trainings need to start, so that each takes a step or a few: the time is that of starting four programs."""
    pictures = [dataset.Picture(f"thing {number} {tone} skin tone", f"thing {number}", ("noto", "twitter")[number % 2],
                                number % 6 == 0, "food") for number in range(12) for tone in ("light", "dark")]
    images = np.random.default_rng(0).integers(0, 256, (len(pictures), 64, 64, 3), dtype=np.uint8)
    archive.write(tmp_path / "pictures.zip", pictures, images)
    variables = {**child_variables(), "PYTHON": sys.executable, "OMP_NUM_THREADS": "1",
                 "AUTOENCODER": "--relative 0.02 --colours 0.3",
                 "DENOISER": "--noise assigned --weight velocity --captions whole --dropout 0.1 --final-batches 2 "
                             "--styles noto",
                 "TRANSFORMER": "--noise assigned", "CLIP": "--tones 0.3 --kinds 0.3"}
    done = subprocess.run(["bash", str(pack.ROOT / "demo" / "gpu_day.sh"), str(tmp_path / "pictures.zip"),
                           str(tmp_path / "run"), os.environ["MENTAL_AVERAGES_COMFYUI"], "--rehearsal"],
                          capture_output=True, text=True, env=variables, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "complete" in done.stdout and "ended with" not in done.stdout
    given = [int(seconds) for seconds in re.findall(r"\(for (-?\d+) s, at", done.stdout)]
    assert len(given) == 4 and max(given) <= 10
    assert (tmp_path / "run" / "log.txt").read_text().strip() == done.stdout.strip()
    for sheet in ("autoencoder", "denoiser", "transformer"):
        assert (tmp_path / "run" / f"{sheet}.png").stat().st_size > 0
    stored = networks.stored_networks(tmp_path / "run" / "weights.safetensors")
    assert stored.architecture == "tiny" and stored.unet_steps >= 1
    assert stored.split == dataset.split_digest(pictures)
    assert all(value.isfinite().all() for value in (*stored.unet.values(), *stored.autoencoder.values()))
    for part in ("transformer", "clip"):
        assert (tmp_path / "run" / f"{part}_weights.safetensors").stat().st_size > 2**20
    # All of one run: they name the same autoencoder and the same split.
    told = transformer.header(tmp_path / "run" / "transformer_weights.safetensors")
    assert (told["autoencoder"], told["split"]) == (stored.autoencoder_name, stored.unet_split)
    assert clip_model.split(tmp_path / "run" / "clip_weights.safetensors") == stored.unet_split == stored.split
    assert not list((tmp_path / "run").glob("*.tmp"))
    state = torch.load(tmp_path / "run" / "denoiser.pt", weights_only=True)
    assert "optimiser" not in state


def test_a_missing_argument_is_explained(tmp_path):
    if shutil.which("bash") is None:
        pytest.skip("it is a shell script")
    done = subprocess.run(["bash", str(pack.ROOT / "demo" / "gpu_day.sh"), str(tmp_path)], capture_output=True,
                          text=True, env=child_variables())
    assert done.returncode == 2 and "usage:" in done.stderr
