"""Tables of measures as the nodes give them."""
from mental_averages.dma.metrics import Measure, MeasureTable


def compared(subject, value, *, reference=0.5, **settings):
    """A table as CompareSets gives it."""
    found = {"encoder": "clip", "images": 8, "reference": 32, "prompt": "", "subset_size": 0, **settings}
    rows = [Measure(subject, "sharpness", value / 10, note="relative to the reference; delta method"),
            Measure(subject, "kernel distance", value), Measure(subject, "CLIP-T", value / 100, note="Student's"),
            Measure("reference", "diversity", reference)]
    return MeasureTable(found, rows)


def looked_at(subject, **settings):
    """A table as CompareSets gives it without an encoder."""
    found = {"encoder": None, "images": 8, "reference": 32, "prompt": "", "subset_size": 0, **settings}
    return MeasureTable(found, [Measure(subject, "sharpness", 0.1, note="relative to the reference; delta method")])


def scored(values, score="typicality", **settings):
    """A table as ScorePictures gives it, of pictures 1, 2, ..."""
    return MeasureTable({"encoder": "clip", **settings}, [Measure(f"picture {number}", score, value)
                                                          for number, value in enumerate(values, 1)])


def sheet(encoder, asked="red\nblue", subject="heart, base"):
    """A table as ConceptSheet gives it."""
    return MeasureTable({"encoder": encoder, "attribute_text": asked}, [
        Measure(subject, name, 0.5, note="known") for name in ("share of red", "change of red", "spread", "drift",
                                                               "average moved")] + [Measure(subject, "flags", 0.0)])


def notes_of(table):
    return {(row.subject, row.name): row.note for row in table.rows}
