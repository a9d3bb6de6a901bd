"""The list of nodes that ComfyUI registers."""
from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .alignment import AlignMixtureModes, AlignTrajectories
from .baselines import (
    AlignedMean,
    AverageImages,
    AverageLatents,
    AverageVAE,
    BestOfK,
    D4MPrototype,
    MedoidSelect,
    MGD3Prototype,
    ZeroLatent,
)
from .distributed import MeanShard, MergeMeans
from .figures import LabelledSheet, LoadReport, PlotReport, SaveReport
from .hspace import CaptureHSpace, HSpaceHook, SemanticLayerProbe
from .interpolation import ChannelMeanInterpolate, LatentOffset, LatentStatistics, MixingWeights
from .inversion import DDIMInvert, DDIMSample, DDIMSamplerSelect
from .mean_shift import MentalAverage, ModeTree
from .metrics import CompareSets, HallucinationFlag, RecordPredictions, SamenessMeter, SaveTable, ScorePictures
from .modes import AlignModes, AttributeEmbed, CLIPGMMClusters, LoadImageEncoder, SelectMode
from .probing import ConceptSheet, ConceptSheetCell, ConceptSheetDrawn, ConceptSheetModels
from .representation import (
    ChannelMeans,
    LoadRepresentation,
    MemorisationScore,
    ReconstructFromRepresentation,
    SaveRepresentation,
    Sparsity,
)
from .steering import DirectionFromPictures, SteerRepresentation, TypicalityGuidance
from .training import TrainModeEmbedding, TrainModeLoRA


class MentalAverages(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [HSpaceHook, AlignTrajectories, CaptureHSpace, PlotReport, LabelledSheet, AverageImages, AverageLatents,
                MedoidSelect, ZeroLatent, SaveReport, LoadReport, DDIMInvert, DDIMSample, DDIMSamplerSelect,
                ChannelMeanInterpolate, MixingWeights, LatentStatistics, LatentOffset, LoadImageEncoder, AttributeEmbed,
                CLIPGMMClusters, SelectMode, TrainModeLoRA, TrainModeEmbedding,
                AlignMixtureModes, AlignModes, SemanticLayerProbe, MentalAverage, TypicalityGuidance, SamenessMeter,
                ModeTree, CompareSets, ScorePictures, SaveTable,
                AverageVAE, AlignedMean, D4MPrototype, MGD3Prototype, BestOfK,
                ChannelMeans, SaveRepresentation, LoadRepresentation, Sparsity,
                RecordPredictions, HallucinationFlag,
                DirectionFromPictures, SteerRepresentation,
                ConceptSheet, ConceptSheetModels, ConceptSheetCell, ConceptSheetDrawn,
                MemorisationScore, ReconstructFromRepresentation,
                MeanShard, MergeMeans]
