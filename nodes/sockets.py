"""The pack's own socket types."""
from comfy_api.latest import io

HSPACE = io.Custom("DMA_HSPACE")
FEATURES = io.Custom("DMA_FEATURES")
REPORT = io.Custom("DMA_REPORT")
