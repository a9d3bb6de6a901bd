"""The pack in other languages: complete, of today's English, and true to what is the same in every language."""
import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import update_languages

GLOSSARY = json.loads((update_languages.WORK / "glossary.json").read_text(encoding="utf-8"))
LANGUAGES = update_languages.languages()
READ = {language: update_languages.read(language) for language in LANGUAGES}
# A digit may stand for a number that English spells out, and 1 for its article.
SPELLED = {"one": 1, "two": 2, "both": 2, "twice": 2, "half": 2, "second": 2, "three": 3, "third": 3, "four": 4,
           "quarter": 4, "eight": 8, "tenth": 10, "thirty": 30}
MILLION = re.compile(r"(\d+)\s*(?:million\w*|millones|миллион\w*|млн)", re.IGNORECASE)
TEN_THOUSAND = re.compile(r"(\d+)\s*[万만]")
PATHS_AND_IDS = re.compile(r"\{\}|<\w+>|[\w.<>/*-]*[\w<>*][_/*=][\w<>/*=.-]*")
ABBREVIATIONS = re.compile(r"\b(?:[A-Z]+\d\w*|[A-Z]{2,}|LoRA|SigLIP|DINOv2|GANgealing|AdamW?|L-BFGS|Gauss-Newton)\b")
IDS_OF_NODES = re.compile(r"\b(?:[A-Z]+[a-z]+|[A-Z]+(?=[A-Z][a-z]))(?:[A-Z]+[a-z]*|[A-Z][a-z]+)+\b")


@dataclass(frozen=True)
class Pack:
    """What the page shows in English: titles by node, names by id of an input, options, texts on names to be typed."""

    titles: dict[str, str]
    inputs: dict[str, set[str]]
    options: set[str]
    typed: set[str]


@pytest.fixture(scope="module")
def pack(comfyui) -> Pack:
    import mental_averages

    async def collect():
        return await (await mental_averages.comfy_entrypoint()).get_node_list()

    schemas = [node.GET_SCHEMA() for node in asyncio.run(collect())]
    inputs = list(_inputs([item for schema in schemas for item in schema.inputs]))
    shown: dict[str, set[str]] = {}
    for item in inputs:
        shown.setdefault(item.id, set()).add(item.display_name or item.id)
    return Pack(titles={schema.node_id: schema.display_name for schema in schemas}, inputs=shown,
                options={getattr(option, "key", option) for item in inputs
                         for option in getattr(item, "options", None) or []},
                typed={item.tooltip for item in inputs if item.id == "overrides"})


def _inputs(items: list[Any]) -> Iterator[Any]:
    """Inputs with those that their choices bring."""
    for item in items:
        yield item
        for option in getattr(item, "options", None) or []:
            yield from _inputs(getattr(option, "inputs", []))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated(language):
    """tools/update_languages.py writes what is missing to tools/languages, to be translated there."""
    assert READ[language].missing == []
    assert READ[language].unused == []
    written = update_languages.contents(language, READ[language].terms)
    assert {path: path.read_text(encoding="utf-8") for path in written} == written, "run tools/update_languages.py"
    assert not list(update_languages.WORK.glob(f"{language}.json")), "run tools/update_languages.py, which takes this"


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_can_be_told_apart(language):
    terms, nodes = READ[language].terms, update_languages.english()["nodeDefs.json"]
    titles = [terms[node["display_name"]] for node in nodes.values()]
    assert sorted(titles) == sorted(set(titles))
    for node, entries in nodes.items():
        for kind in ("inputs", "outputs"):
            # Inputs that a choice brings replace each other, and may bear the name of another input.
            names = {entry["name"] for entry in entries[kind].values() if "tooltip" in entry}
            assert len({terms[name] for name in names}) == len(names), f"{node}: {kind} of the same name"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_keeps_what_has_no_language(pack, language):
    terms = READ[language].terms
    assert {text: problems for text in terms if (problems := list(_changed(text, terms, pack)))} == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_calls_things_by_their_names(pack, language):
    """Nodes of the pack bear the title that the page shows, core's that or their id; terms are those of ComfyUI's own
    locale."""
    terms, glossary = READ[language].terms, GLOSSARY[language]
    own = {node: terms[title] for node, title in pack.titles.items()}
    assert {text: problems for text in terms
            if (problems := list(_misnamed(text, terms[text], own, glossary["nodes"], glossary["terms"])))} == {}


def _changed(text: str, terms: dict[str, str], pack: Pack) -> Iterator[str]:
    """What a translation has changed that it may not."""
    translation = terms[text]
    if not translation or translation != translation.strip():
        yield "is empty, or has spaces around it"
    if text.endswith(".") != translation.endswith((".", "。")):
        yield "a sentence stays one, a name a name"
    if [translation.count(sign) for sign in "{@|"] != [text.count(sign) for sign in "{@|"]:
        yield "{, @ and | mean something to the page"
    numbers, wanted = _numbers(translation), _numbers(text)
    spelled = {SPELLED[word] for word in re.findall("[a-z]+", text.lower()) if word in SPELLED}
    if not wanted <= numbers <= wanted | {1, *spelled}:
        yield f"numbers {sorted(numbers)} instead of {sorted(wanted)}"
    for name in {name.strip(".,;:") for name in PATHS_AND_IDS.findall(text)} - {text}:
        shown = {name}
        if name in pack.inputs and name not in pack.options and text not in pack.typed:
            shown = {terms[other] for other in pack.inputs[name] if other in terms}
        elif "<" in name:
            shown = {re.sub(r"<(\w+)>", lambda found: f"<{terms.get(found[1], found[1])}>", name)}
        if not any(_mentions(translation, other) for other in shown):
            yield f"{name} is shown as {' or '.join(shown)}"
    for option in pack.options:
        # Before a colon at the beginning of a sentence an option is explained.
        if (re.search(rf"(?:^|[.;] ){re.escape(option)}: ", text)
                and not re.search(rf"(?<![a-zA-Z_-]){re.escape(option)}(?![a-zA-Z_-])", translation)):
            yield f"{option} is shown in English"
    for name in ABBREVIATIONS.findall(text):
        if name.lower() not in translation.lower():
            yield f"{name} stays"


def _misnamed(text: str, translation: str, own: dict[str, str], core: dict[str, str],
              terms: dict[str, str]) -> Iterator[str]:
    """Which nodes and terms have another name in a translation."""
    for name, title in {**own, **core}.items():
        is_id = name in core and name in translation
        if re.search(rf"\b{name}\b", text) and not is_id and not _mentions(translation, title):
            yield f"{name} is called {title}"
    prose = IDS_OF_NODES.sub("", PATHS_AND_IDS.sub("", text))
    for term, word in terms.items():
        # An option or a name to be typed may be the English word itself.
        if (re.search(rf"(?<![\w-]){term}s?(?![\w-])", prose, re.IGNORECASE)
                and not _mentions(translation, word) and not re.search(rf"\b{term}", translation)):
            yield f"{term} is called {word}"


def _mentions(translation: str, name: str) -> bool:
    """Whether a name stands in it, without what its title adds in brackets."""
    name, translation = (words.replace("_", " ").casefold() for words in (name, translation))
    return re.split(r"\s*[(（]", name)[0] in translation


def _numbers(text: str) -> set[float]:
    text = MILLION.sub(lambda found: f"{found[1]}000000", text)
    text = TEN_THOUSAND.sub(lambda found: f"{found[1]}0000", text)
    return {float(number.replace(",", ".")) for number in re.findall(r"(?<![\w.])-?\d+(?:[.,]\d+)?", text)}
