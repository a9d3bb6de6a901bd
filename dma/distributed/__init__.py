"""Work on many processes, cards and machines, by Ray: the same results as of one process."""
from ._devices import on_devices
from ._map_moments import Values, map_moments
from ._mean_state import MeanState
from ._ray_workers import RayWorkers, WorkersLost
from ._remote_denoiser import RemoteDenoiser
from ._sources import PipelineSource

__all__ = [
    "MeanState", "PipelineSource", "RayWorkers", "RemoteDenoiser", "Values", "WorkersLost", "map_moments", "on_devices",
]
