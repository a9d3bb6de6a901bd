"""ConceptSheet, and the nodes that it unfolds into."""
from ._concept_cell import ConceptSheetCell, ConceptSheetModels
from ._concept_sheet import ConceptSheet
from ._drawn_sheet import ConceptSheetDrawn

__all__ = ["ConceptSheet", "ConceptSheetCell", "ConceptSheetDrawn", "ConceptSheetModels"]
