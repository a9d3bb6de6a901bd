"""AlignTrajectories and AlignMixtureModes."""
from ._align_mixture_modes import AlignMixtureModes
from ._align_trajectories import AlignTrajectories

__all__ = ["AlignMixtureModes", "AlignTrajectories"]
