"""The list of nodes that ComfyUI registers."""
from comfy_api.latest import ComfyExtension, io

from .align import AlignTrajectories
from .baselines import AverageImages, AverageLatents, MedoidSelect, ZeroLatent
from .figures import LabelledSheet, LoadReport, PlotReport, SaveReport
from .hspace import CaptureHSpace, HSpaceHook


class MentalAverages(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [HSpaceHook, AlignTrajectories, CaptureHSpace, PlotReport, LabelledSheet, AverageImages, AverageLatents,
                MedoidSelect, ZeroLatent, SaveReport, LoadReport]
