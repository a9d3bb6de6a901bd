"""Diffusion Mental Averages: what a diffusion model thinks a concept looks like, as ComfyUI nodes."""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    from .nodes.extension import MentalAverages

    return MentalAverages()
