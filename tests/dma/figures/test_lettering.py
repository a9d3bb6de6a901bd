"""Text in fonts that have its characters."""
import logging
from pathlib import Path

import matplotlib
import pytest
import torch

from mental_averages.dma import figures
from mental_averages.dma.figures import _lettering

UNASSIGNED = "\u0378"  # no font has it, and so it is a box


@pytest.fixture
def no_system_fonts(monkeypatch):
    monkeypatch.setattr(_lettering, "system_fonts", tuple)
    _lettering.font_of.cache_clear()
    yield
    _lettering.font_of.cache_clear()


def sheet(caption):
    return figures.labelled_sheet([torch.ones(1, 8, 8, 3)], [caption], cell=64)


@pytest.mark.parametrize("character", ["\N{LATIN SMALL LETTER E WITH ACUTE}", "\N{LATIN SMALL LETTER N WITH TILDE}",
                                       "\N{EN DASH}", "\N{CYRILLIC CAPITAL LETTER ZHE}", "\N{GREEK SMALL LETTER OMEGA}",
                                       "\N{GRINNING FACE}"])
def test_characters_that_dejavu_sans_has_are_no_boxes(character, no_system_fonts, caplog):
    drawn = sheet(f"[{character}]")
    box = sheet(f"[{UNASSIGNED}]")
    assert drawn.min() < 0.5 and not (drawn.shape == box.shape and torch.equal(drawn, box))
    assert _lettering.font_of(character) == _lettering.base_font()
    assert not [record for record in caplog.records if character in record.getMessage()]


def test_a_font_of_the_system_has_what_dejavu_sans_has_not(monkeypatch):
    """What a font for Chinese does: STIX has a sign that DejaVu Sans lacks, and the first font cannot be read."""
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    stix = str(fonts / "STIXGeneral.ttf")
    sign = next(character for character in sorted(_lettering.characters_of(stix))
                if ord(character) in range(0x2000, 0xE000)
                and character not in _lettering.characters_of(_lettering.base_font()))
    monkeypatch.setattr(_lettering, "system_fonts", lambda: (__file__, stix))
    _lettering.font_of.cache_clear()
    assert _lettering.runs(f"a{sign}b") == [(_lettering.base_font(), "a"), (stix, sign), (_lettering.base_font(), "b")]
    assert _lettering.Lettering(20).width(f"a{sign}") > 0
    _lettering.font_of.cache_clear()


def test_what_no_font_has(no_system_fonts, caplog):
    with caplog.at_level(logging.WARNING):
        assert _lettering.writable("a\N{BRAIN}b") == "a[brain]b"
        assert not caplog.records
        assert _lettering.writable("\u4e2d\u6587 a") == "\u4e2d\u6587 a"
    assert "No font of this system has \u4e2d \u6587" in caplog.text


def test_text_as_it_is_drawn():
    assert _lettering.writable("e\u0301") == "\u00e9"
    assert _lettering.writable("a\tb\x00c\u200dd\ufe0f") == "a b cd"


def test_fonts_of_the_system_do_not_have_boxes_for_everything():
    assert all("lastresort" not in path.lower() for path in _lettering.system_fonts())


def test_without_matplotlib_there_is_the_font_of_pillow(monkeypatch):
    monkeypatch.setattr(_lettering, "base_font", lambda: None)
    _lettering.font_of.cache_clear()
    assert sheet("plain").min() < 0.5
    _lettering.font_of.cache_clear()


def test_words_are_broken_where_they_have_to_be():
    letters = _lettering.Lettering(16)
    width = letters.width("mmmmm") + 1
    assert letters.wrapped("mm mm mmmmmmmmmmmm m", width) == ["mm mm", "mmmmm", "mmmmm", "mm m"]
    assert letters.wrapped("m", 1) == ["m"] and letters.wrapped("mm", 1) == ["m", "m"]
    assert letters.wrapped("", 10) == [] and letters.wrapped("a\n\nb", 100) == ["a", "", "b"]
