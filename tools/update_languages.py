"""Write the pack's locale files in other languages, and say what is not translated and what is no longer used.

    python tools/update_languages.py             after locales/en has changed; tools/update_schemas.py does it too
    python tools/update_languages.py --show zh   every English text with its translation, to read or to revise

Texts without a translation come to `tools/languages/LANGUAGE.json`, {English: ""}. Fill them in, add others to revise
them, and run this again: what is translated is taken from there into `locales/LANGUAGE/`, and the file goes.

A translation is stored once, in the locale file: with English beside it, seven languages would double what they take
of a checkout. `tools/languages/LANGUAGE.txt` holds a digest of each pair of an English text and its translation, which
tells a translation whose English has changed. A text that occurs several times is translated once, the same everywhere.
"""
from __future__ import annotations

import argparse
import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCALES = ROOT / "locales"
WORK = ROOT / "tools" / "languages"
FILES = ("main.json", "nodeDefs.json")


@dataclass(frozen=True)
class Language:
    """What a language says of the pack's texts now."""

    terms: dict[str, str]   # English text -> translation
    missing: list[str]      # English texts without one
    unused: list[str]       # translations whose English is gone or has changed, and English that no file has


def languages() -> list[str]:
    """The languages other than English that have a locale, or texts to make one of."""
    return sorted({place.stem for place in (*LOCALES.iterdir(), *WORK.glob("*.json"))} - {"en", "glossary"})


def english() -> dict[str, Any]:
    """The English locale by file."""
    return _locale("en")


def texts(tree: Any) -> Iterator[str]:
    """Every text of a locale, in its order, as often as it occurs."""
    if isinstance(tree, str):
        yield tree
        return
    for branch in tree.values():
        yield from texts(branch)


def read(language: str) -> Language:
    """The translations of a language: those of its locale files, and before them those that stand in the work file."""
    stored = list(dict.fromkeys(texts(_locale(language))))
    digests = set(_record(language).read_text(encoding="utf-8").split()) if _record(language).exists() else set()
    given = json.loads(_work(language).read_text(encoding="utf-8")) if _work(language).exists() else {}
    wanted = list(dict.fromkeys(texts(english())))
    terms, used = {}, set()
    for text in wanted:
        known = next((translation for translation in stored if digest(text, translation) in digests), None)
        used.add(known)
        if given.get(text) or known:
            terms[text] = given.get(text) or known
    return Language(terms, [text for text in wanted if text not in terms],
                    [text for text in stored if text not in used] + [text for text in given if text not in wanted])


def digest(text: str, translation: str) -> str:
    """48 bits of both, as eight letters."""
    both = hashlib.sha256(f"{text}\0{translation}".encode()).digest()
    return base64.urlsafe_b64encode(both[:6]).decode()


def contents(language: str, terms: dict[str, str]) -> dict[Path, str]:
    """What the files of a language hold: its locale, as far as there are translations, and its record."""
    pairs = sorted(digest(text, translation) for text, translation in terms.items())
    return {**{LOCALES / language / file: compact(_translated(tree, terms)) for file, tree in english().items()},
            _record(language): "\n".join(pairs) + "\n"}


def update(language: str) -> Language:
    """Write the files of a language anew; what has no translation comes to the work file, which otherwise goes."""
    found = read(language)
    for path, content in contents(language, found.terms).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    if found.missing:
        write_terms(_work(language), dict.fromkeys(found.missing, ""))
    else:
        _work(language).unlink(missing_ok=True)
    return found


def update_all() -> None:
    """Update every language, and print what is missing and what is no longer used."""
    for language in languages():
        found = update(language)
        for text in found.unused:
            print(f"{language}: no longer used: {text}")
        for text in found.missing:
            print(f"{language}: no translation: {text}")
        if found.missing:
            print(f"{language}: translate what stands in {_work(language).relative_to(ROOT)} and run this again")


def compact(tree: dict[str, Any]) -> str:
    """JSON of a locale without spaces, one line for each node, so that changes can be told apart."""
    lines = [f"{json.dumps(key)}:{json.dumps(branch, ensure_ascii=False, separators=(',', ':'))}"
             for key, branch in tree.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def write_terms(path: Path, terms: dict[str, str]) -> None:
    path.write_text(json.dumps(terms, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


def _locale(language: str) -> dict[str, Any]:
    found = {file: LOCALES / language / file for file in FILES}
    return {file: json.loads(path.read_text(encoding="utf-8")) for file, path in found.items() if path.exists()}


def _record(language: str) -> Path:
    return WORK / f"{language}.txt"


def _work(language: str) -> Path:
    return WORK / f"{language}.json"


def _translated(tree: Any, terms: dict[str, str]) -> Any:
    """The tree in another language, without the branches that it has no word for: there the page stays English."""
    if isinstance(tree, str):
        return terms.get(tree)
    branches = {key: _translated(branch, terms) for key, branch in tree.items()}
    return {key: branch for key, branch in branches.items() if branch}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", metavar="LANGUAGE", choices=languages())
    shown = parser.parse_args().show
    if shown:
        print(json.dumps(read(shown).terms, ensure_ascii=False, indent=0))
    else:
        update_all()
