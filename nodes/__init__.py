"""The ComfyUI layer: nodes unpack, check, call `dma` and pack."""
