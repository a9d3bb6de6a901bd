"""Diffusion mental averages: the methods, as functions on tensors.

Nothing in here knows ComfyUI. A model is anything that offers the `denoiser.Denoiser` protocol. Latents are carried as
ComfyUI carries them (x = x0 + sigma eps for eps and v models, (1 - sigma) x0 + sigma eps for flow), in fp32.
"""
