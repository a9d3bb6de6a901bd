import json

import torch

from mental_averages.dma import encoders


def test_answers_are_counted():
    found = encoders.AttributeEmbeddings(torch.zeros(4, 2), ("dark", "light", "dark", ""), {"method": "question"})
    assert found.counts() == [("dark", 2), ("", 1), ("light", 1)]
    lines = found.table().splitlines()
    assert lines[0].split() == ["2", "0.500", "(0.150-0.850)", "dark"] and lines[1].endswith("(no answer)")
    data = json.loads(found.to_json())
    assert data["counts"] == {"dark": 2, "": 1, "light": 1} and data["answers"] == ["dark", "light", "dark", ""]
