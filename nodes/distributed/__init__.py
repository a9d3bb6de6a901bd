"""Nodes by which several ComfyUIs share one average."""
from ._mean_shard import MeanShard
from ._merge_means import MergeMeans

__all__ = ["MeanShard", "MergeMeans"]
