"""How often cells have failed."""


def test_each_cell_has_its_own_number(comfyui, monkeypatch):
    from mental_averages.nodes.probing import _failures
    from mental_averages.nodes.probing._failures import count_failure, failures

    monkeypatch.setattr(_failures, "_failed", type(_failures._failed)())
    assert failures() == failures(("a", "", "x")) == 0
    for cell in (("a", "", "x"), ("a", "", "x"), ("b", "", "x")):
        count_failure(cell)
    assert (failures(), failures(("a", "", "x")), failures(("b", "", "x")), failures(("b", "", "y"))) == (3, 2, 1, 0)
