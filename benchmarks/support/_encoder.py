"""The image encoder of benchmarks: the demo CLIP, or one from a folder."""
from __future__ import annotations

import tempfile
from pathlib import Path

import clip_model
from mental_averages.dma import encoders


def load_encoder(folder: Path | None) -> encoders.ImageEncoder:
    """An encoder from a folder; the demo CLIP if none is named."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    if folder:
        return encoders.load_encoder(folder)
    if not clip_model.PATH.exists():
        raise SystemExit(f"There is no {clip_model.PATH.name} in demo/: train it by demo/train_clip.py, or name "
                         "another CLIP with --encoder.")
    with tempfile.TemporaryDirectory() as written:
        clip_model.write_folder(Path(written) / "demo_clip", *clip_model.unpack())
        return encoders.load_encoder(Path(written) / "demo_clip")
