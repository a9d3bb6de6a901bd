"""The pack's own socket types."""
from __future__ import annotations

from comfy_api.latest import io

HSPACE = io.Custom("DMA_HSPACE")
FEATURES = io.Custom("DMA_FEATURES")
REPORT = io.Custom("DMA_REPORT")
TRAJECTORY = io.Custom("DMA_TRAJECTORY")
IMAGE_ENCODER = io.Custom("DMA_IMAGE_ENCODER")
EMBEDDINGS = io.Custom("DMA_EMBEDDINGS")
CLUSTERS = io.Custom("DMA_CLUSTERS")
TABLE = io.Custom("DMA_TABLE")
FIRST_MEAN = io.Custom("DMA_FIRST_MEAN")
REPRESENTATION = io.Custom("DMA_REPRESENTATION")
DIRECTION = io.Custom("DMA_DIRECTION")
# Between the nodes that ConceptSheet unfolds into.
SHEET_MODELS = io.Custom("DMA_SHEET_MODELS")
SHEET_CELL = io.Custom("DMA_SHEET_CELL")
