"""The example script for diffusers, on a pipeline with small random weights."""
import subprocess
import sys

from pipelines import write_pipeline

import pack


def test_script_writes_a_picture(tmp_path):
    from PIL import Image

    pipeline, target = write_pipeline(tmp_path / "pipeline"), tmp_path / "castle.png"
    done = subprocess.run([sys.executable, str(pack.ROOT / "docs" / "average_of_a_pipeline.py"), str(pipeline),
                           "a castle", str(target), "--count", "3", "--keep", "2", "--preset", "draft", "--steps", "4",
                           "--size", "24"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "residual" in done.stdout
    with Image.open(target) as picture:
        assert picture.size == (24, 24), "the preset draft returns one"
