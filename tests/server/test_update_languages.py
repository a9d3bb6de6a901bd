"""Translations stay with their English text, and what has none is named."""
import json

import pytest

import update_languages

ENGLISH = {"A": {"display_name": "Average", "description": "Takes a mean.", "inputs": {"model": {"name": "model"}}},
           "B": {"display_name": "Plot", "description": "Draws it.", "inputs": {"model": {"name": "model"}}}}
GERMAN = {"Average": "Mittel", "Takes a mean.": "Nimmt ein Mittel.", "model": "Modell", "Plot": "Zeichnung",
          "Draws it.": "Zeichnet es.", "figures": "Abbildungen"}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(update_languages, "LOCALES", tmp_path / "locales")
    monkeypatch.setattr(update_languages, "WORK", tmp_path / "languages")
    monkeypatch.setattr(update_languages, "ROOT", tmp_path)
    (tmp_path / "languages").mkdir()
    write(tmp_path / "locales" / "en" / "main.json", {"nodeCategories": {"figures": "figures"}})
    write(tmp_path / "locales" / "en" / "nodeDefs.json", ENGLISH)
    return tmp_path


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def german(place):
    return json.loads((place / "locales" / "de" / "nodeDefs.json").read_text(encoding="utf-8"))


@pytest.fixture
def translated(place):
    write(place / "languages" / "de.json", GERMAN)
    update_languages.update("de")
    return place


def test_what_is_translated_is_taken_into_the_locale(translated):
    assert german(translated)["B"] == {"display_name": "Zeichnung", "description": "Zeichnet es.",
                                       "inputs": {"model": {"name": "Modell"}}}
    assert not (translated / "languages" / "de.json").exists()
    assert update_languages.read("de") == update_languages.Language(GERMAN, [], [])
    assert update_languages.languages() == ["de"]


def test_texts_without_a_translation_are_asked_for(place, capsys):
    write(place / "languages" / "de.json", {**GERMAN, "Plot": "", "Gone.": "Weg."})
    update_languages.update_all()
    assert "no translation: Plot" in (said := capsys.readouterr().out) and "no longer used: Gone." in said
    assert json.loads((place / "languages" / "de.json").read_text()) == {"Plot": ""}
    # There the page stays English.
    assert "display_name" not in german(place)["B"] and german(place)["A"]["display_name"] == "Mittel"


def test_english_that_has_changed_needs_another_translation(translated):
    changed = json.loads(json.dumps(ENGLISH))
    changed["A"]["description"] = "Takes another mean."
    write(translated / "locales" / "en" / "nodeDefs.json", changed)
    found = update_languages.read("de")
    assert (found.missing, found.unused) == (["Takes another mean."], ["Nimmt ein Mittel."])
    assert "description" not in json.loads(
        update_languages.contents("de", found.terms)[translated / "locales" / "de" / "nodeDefs.json"])["A"]


def test_a_translation_moves_with_its_text(translated):
    write(translated / "locales" / "en" / "nodeDefs.json", {"C": ENGLISH["B"], "A": ENGLISH["A"]})
    found = update_languages.update("de")
    assert not found.missing and not found.unused
    assert list(german(translated)) == ["C", "A"] and german(translated)["C"]["display_name"] == "Zeichnung"


def test_a_translation_can_be_revised(translated):
    write(translated / "languages" / "de.json", {"Plot": "Diagramm"})
    found = update_languages.update("de")
    assert german(translated)["B"]["display_name"] == "Diagramm"
    assert found.terms == {**GERMAN, "Plot": "Diagramm"}
    assert update_languages.read("de").unused == []


def test_a_locale_changed_by_hand_is_told(translated):
    path = translated / "locales" / "de" / "nodeDefs.json"
    path.write_text(path.read_text(encoding="utf-8").replace("Mittel", "Schnitt"), encoding="utf-8")
    found = update_languages.read("de")
    assert set(found.missing) == {"Average", "Takes a mean."} and set(found.unused) == {"Schnitt", "Nimmt ein Schnitt."}
