"""Encoders that nodes are given in tests: stand-ins for CLIP_VISION, and folders as LoadImageEncoder loads them."""
import contextlib

import pytest
import torch


class ClipVision:
    """A CLIP_VISION whose embedding of a picture is its mean colour and its brightness by rows."""

    def encode_image(self, pictures):
        assert pictures.shape[-1] == 3
        return {"image_embeds": torch.cat([pictures.mean((1, 2)), pictures.mean((2, 3))], 1)}


class Untouched:
    """A CLIP_VISION that must not be asked."""

    def encode_image(self, pictures):
        raise AssertionError("pictures were read before the inputs were checked")


def loaded_encoder(name):
    """What LoadImageEncoder gives of a folder."""
    from mental_averages.nodes.modes import LoadImageEncoder

    return LoadImageEncoder.execute(name).args[0]


@contextlib.contextmanager
def encoders_in(folder):
    """ComfyUI's folder of image encoders is this one."""
    import folder_paths

    from mental_averages.nodes.comfyui import IMAGE_ENCODERS

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(folder_paths.folder_names_and_paths, IMAGE_ENCODERS, ([str(folder)], set()))
        yield folder
