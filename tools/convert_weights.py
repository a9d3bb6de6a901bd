"""Make a folder for Load Image Encoder out of the weights that DreamSim's and ImageReward's authors publish.

    python tools/convert_weights.py dreamsim BACKBONE ADAPTER FOLDER
    python tools/convert_weights.py image_reward WEIGHTS CONFIG VOCABULARY FOLDER

BACKBONE is dino_vitbase16_pretrain.pth, ADAPTER the folder dino_vitb16_single_lora; WEIGHTS is ImageReward.pt, CONFIG
its med_config.json, VOCABULARY the vocab.txt of bert-base-uncased. Nothing is downloaded, and weights are read without
running code. Needs torch and safetensors, which ComfyUI's Python has.
"""
from __future__ import annotations

import argparse
from pathlib import Path

import pack
from console import Explained, run, say


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="convert_weights.py", description=__doc__.splitlines()[0])
    models = parser.add_subparsers(dest="model", required=True)
    for model, files in (("dreamsim", ("backbone", "adapter")), ("image_reward", ("weights", "config", "vocabulary"))):
        options = models.add_parser(model)
        for file in (*files, "folder"):
            options.add_argument(file, type=Path)
    chosen = parser.parse_args(arguments)
    pack.load_pack()
    from mental_averages.dma import encoders

    try:
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
