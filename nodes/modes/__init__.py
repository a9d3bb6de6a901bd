"""LoadImageEncoder, AttributeEmbed, CLIPGMMClusters, SelectMode and AlignModes."""
from ._align_modes import AlignModes
from ._attribute_embed import AttributeEmbed
from ._clip_gmm_clusters import CLIPGMMClusters
from ._load_image_encoder import LoadImageEncoder
from ._overrides import parse_overrides
from ._select_mode import SelectMode

__all__ = ["AlignModes", "AttributeEmbed", "CLIPGMMClusters", "LoadImageEncoder", "SelectMode", "parse_overrides"]
