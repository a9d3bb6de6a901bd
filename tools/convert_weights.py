"""Make a folder for Load Image Encoder out of the weights that DreamSim's and ImageReward's authors publish, or a file
of the Inception weights of FID and KID for dma.encoders.load_inception.

    python tools/convert_weights.py dreamsim BACKBONE ADAPTER FOLDER
    python tools/convert_weights.py image_reward WEIGHTS CONFIG VOCABULARY FOLDER
    python tools/convert_weights.py inception PUBLISHED FILE

BACKBONE is dino_vitbase16_pretrain.pth, ADAPTER the folder dino_vitb16_single_lora; WEIGHTS is ImageReward.pt, CONFIG
its med_config.json, VOCABULARY the vocab.txt of bert-base-uncased; PUBLISHED is torch-fidelity's
weights-inception-2015-12-05-6726825d.pth. Nothing is downloaded, and weights are read without running code. Needs torch
and safetensors, which ComfyUI's Python has.
"""
from __future__ import annotations

import argparse
from pathlib import Path

import pack
from console import Explained, run, say


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="convert_weights.py", description=__doc__.split("\n\n")[0])
    models = parser.add_subparsers(dest="model", required=True)
    for model, files in (("dreamsim", ("backbone", "adapter", "folder")), ("inception", ("published", "file")),
                         ("image_reward", ("weights", "config", "vocabulary", "folder"))):
        options = models.add_parser(model)
        for file in files:
            options.add_argument(file, type=Path)
    chosen = parser.parse_args(arguments)
    pack.load_pack()
    from mental_averages.dma import encoders

    try:
        if chosen.model == "inception":
            encoders.write_inception(chosen.published, chosen.file)
            say(f"{chosen.file} is ready for dma.encoders.load_inception.")
            return 0
        if chosen.model == "dreamsim":
            encoders.write_dreamsim(chosen.backbone, chosen.adapter, chosen.folder)
        else:
            encoders.write_image_reward(chosen.weights, chosen.config, chosen.vocabulary, chosen.folder)
        encoders.check_folder(chosen.folder)
    except ValueError as error:
        raise Explained(str(error)) from None
    say(f"{chosen.folder} is ready for Load Image Encoder.")
    return 0


if __name__ == "__main__":
    run(main)
