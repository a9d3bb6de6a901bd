"""The list of nodes that ComfyUI registers."""
from comfy_api.latest import ComfyExtension, io

from .align import AlignTrajectories
from .align_mixture import AlignMixtureModes
from .align_modes import AlignModes
from .attributes import AttributeEmbed, LoadImageEncoder
from .baselines import AverageImages, AverageLatents, MedoidSelect, ZeroLatent
from .deterministic_sampling import DDIMSample, DDIMSamplerSelect
from .figures import LabelledSheet, LoadReport, PlotReport, SaveReport
from .hspace import CaptureHSpace, HSpaceHook
from .interpolation import ChannelMeanInterpolate, MixingWeights
from .inversion import DDIMInvert
from .latent_statistics import LatentOffset, LatentStatistics
from .layer_probe import SemanticLayerProbe
from .modes import CLIPGMMClusters, SelectMode
from .train_embedding import TrainModeEmbedding
from .train_lora import TrainModeLoRA


class MentalAverages(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [HSpaceHook, AlignTrajectories, CaptureHSpace, PlotReport, LabelledSheet, AverageImages, AverageLatents,
                MedoidSelect, ZeroLatent, SaveReport, LoadReport, DDIMInvert, DDIMSample, DDIMSamplerSelect,
                ChannelMeanInterpolate, MixingWeights, LatentStatistics, LatentOffset, LoadImageEncoder, AttributeEmbed,
                CLIPGMMClusters, SelectMode, TrainModeLoRA, TrainModeEmbedding,
                AlignMixtureModes, AlignModes, SemanticLayerProbe]
