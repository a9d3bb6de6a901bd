"""ConceptSheet on the demo checkpoints, in a graph that ComfyUI's own executor runs."""
UNET, TRANSFORMER = "a_unet.safetensors", "b_transformer.safetensors"
SETTINGS = dict(words="red heart\ncat face", template="{}", negative_prompt="", width=64, height=64, count=2, samples=4,
                steps=4, cfg=3.0, scheduler="normal", seed=1, averaged_steps=1, attributes="none", cell=128)
BOTH = {"columns": "checkpoints", "columns.names": "*"}
EPOCHS = {"columns": "loras", "columns.model": ["given", 0], "columns.clip": ["given", 1], "columns.vae": ["given", 2],
          "columns.folder": "training", "columns.files": "*", "columns.strength": 1.0, "columns.without": True}


class SheetGiven:
    """What a graph starts from: the demo model, its CLIP and VAE, and an image encoder."""

    RETURN_TYPES = ("MODEL", "CLIP", "VAE", "DMA_IMAGE_ENCODER", "INT")
    FUNCTION, CATEGORY, values = "give", "test", None

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def give(self):
        return SheetGiven.values


class SheetResult:
    """Takes the outputs of ConceptSheet."""

    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE, received = (), "take", "test", True, None

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"sheet": ("IMAGE",), "averages": ("IMAGE",), "table": ("DMA_TABLE",)}}

    def take(self, sheet, averages, table):
        SheetResult.received = sheet, averages, table
        return ()


def sheet_graph(columns, **change):
    inputs = {**SETTINGS, **columns, **change}
    return {"given": {"class_type": "SheetGiven", "inputs": {}},
            "sheet": {"class_type": "ConceptSheet", "inputs": {name: value for name, value in inputs.items()
                                                               if value is not None}},
            "out": {"class_type": "SheetResult",
                    "inputs": {name: ["sheet", index] for index, name in enumerate(("sheet", "averages", "table"))}}}
