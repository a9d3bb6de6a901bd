import dataclasses
import json
import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings, strategies as st
from reports import KINDS

from mental_averages.dma.records import Record, json_text, read


@dataclass(frozen=True)
class Stop:
    place: str
    height: float
    steps: list[int]
    depth: float | None = None  # of version 2


@dataclass(frozen=True)
class Walk(Record):
    FORMAT, VERSION, NAME = "tests/walk", 2, "a report of a walk"

    settings: dict
    stops: list[Stop]
    last: Stop | None
    heights: list[list[float | None]]
    sunny: bool
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)  # of version 2

    def check(self):
        if self.last is not None and self.last not in self.stops:
            raise ValueError(f"the last stop {self.last.place!r} is not among its stops")


HILL, LAKE = Stop("hill", 3.5, [1, 2]), Stop("lake", -1, [], 7.25)
WALK = Walk({"a": [1, {"b": None}]}, [HILL, LAKE], LAKE, [[1.0, None], []], True, 2.5, ["é"])

# To the last space: files are compared and hashed.
TEXT = """{
 "format": "tests/walk",
 "version": 2,
 "settings": {
  "a": [
   1,
   {
    "b": null
   }
  ]
 },
 "stops": [
  {
   "place": "hill",
   "height": 3.5,
   "steps": [
    1,
    2
   ],
   "depth": null
  }
 ],
 "last": null,
 "heights": [],
 "sunny": false,
 "seconds": 0.0,
 "notes": [
  "\\u00e9"
 ]
}"""


def test_the_text_is_what_it_says_to_the_last_space():
    walk = Walk({"a": [1, {"b": None}]}, [HILL], None, [], False, notes=["é"])
    assert walk.to_json() == TEXT and Walk.from_json(TEXT) == walk


def test_reading_what_was_written():
    found = Walk.from_json(WALK.to_json())
    assert found == WALK and isinstance(found.last, Stop) and found.to_json() == WALK.to_json()


floats = st.floats(allow_nan=False)
stops = st.builds(Stop, st.text(max_size=5), floats, st.lists(st.integers(), max_size=3), st.none() | floats)


@settings(max_examples=50, deadline=None)
@given(st.builds(Walk, st.dictionaries(st.text(), st.none() | floats | st.text(), max_size=3),
                 st.lists(stops, max_size=3), st.none(),
                 st.lists(st.lists(st.none() | floats, max_size=3), max_size=3), st.booleans(), floats,
                 st.lists(st.text(), max_size=2)))
def test_any_record_comes_back(walk):
    assert Walk.from_json(walk.to_json()) == walk


def test_not_a_number_comes_back():
    assert math.isnan(Walk.from_json(dataclasses.replace(WALK, seconds=math.nan).to_json()).seconds)


def test_earlier_versions_lack_the_fields_with_defaults():
    data = json.loads(WALK.to_json())
    del data["notes"], data["stops"][1]["depth"], data["last"]["depth"]
    found = Walk.from_json(json.dumps({**data, "version": 1}))
    assert found.notes == [] and found.stops[1] == found.last == dataclasses.replace(LAKE, depth=None)
    with pytest.raises(ValueError, match="lacks the field 'depth'"):
        Walk.from_json(json.dumps(data))
    del data["settings"]
    with pytest.raises(ValueError, match="damaged one: it lacks the field 'settings'"):
        Walk.from_json(json.dumps({**data, "version": 1}))


@pytest.mark.parametrize("text, message", [
    ("", "This is not a report of a walk: it is not JSON"), (TEXT[:-5], "it is not JSON"),
    ("[]", "This JSON text is not a report of a walk."), ("null", "is not a report of a walk"),
    ("{}", "is not a report of a walk"), ('{"format": ["tests/walk"]}', "is not a report of a walk"),
    ('{"format": "tests/run", "version": 2}', "is not a report of a walk")])
def test_other_texts(text, message):
    with pytest.raises(ValueError, match=message):
        Walk.from_json(text)


@pytest.mark.parametrize("version", [0, 3, 99, -1, None, "2", 1.5, [2]])
def test_other_versions(version):
    with pytest.raises(ValueError, match="This is a report of a walk in format version .*only versions up to 2"):
        Walk.from_json(json.dumps({**json.loads(TEXT), "version": version}))


@pytest.mark.parametrize("change, message", [
    (dict(extra=1), "it has an unknown field 'extra'"), (dict(settings=None), "settings is null in place of an object"),
    (dict(stops={}), r"stops is an object in place of a list"), (dict(stops=[None]), r"stops\[0\] is null in place of"),
    (dict(stops=[{"place": "hill"}]), r"stops\[0\] lacks the field 'height'"),
    (dict(stops=[dataclasses.asdict(HILL), {**dataclasses.asdict(HILL), "steps": [1, 2.0]}]),
     r"stops\[1\]\.steps\[1\] is a number in place of a whole number"),
    (dict(stops=[{**dataclasses.asdict(HILL), "wet": 1}]), r"stops\[0\] has an unknown field 'wet'"),
    (dict(last=3), "last is a whole number in place of an object"),
    (dict(last=dataclasses.asdict(LAKE)), "the last stop 'lake' is not among its stops"),
    (dict(heights=[[1.0, "2"]]), r"heights\[0\]\[1\] is a text in place of a number"),
    (dict(sunny=1), "sunny is a whole number in place of true or false"),
    (dict(seconds=True), "seconds is true or false in place of a number"),
    (dict(notes=[None]), r"notes\[0\] is null in place of a text")])
def test_damaged_fields_are_named_with_their_place(change, message):
    with pytest.raises(ValueError, match=f"This is a report of a walk, but a damaged one: {message}"):
        Walk.from_json(json.dumps({**json.loads(TEXT), **change}))


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Walk)])
def test_every_field_has_to_be_there(name):
    with pytest.raises(ValueError, match=f"it lacks the field '{name}'"):
        Walk.from_json(json.dumps({key: value for key, value in json.loads(TEXT).items() if key != name}))


def test_whole_numbers_are_numbers():
    found = Walk.from_json(json.dumps({**json.loads(TEXT), "seconds": 3}))
    assert found.seconds == 3 and '"seconds": 3,' in found.to_json()


@dataclass(frozen=True)
class Run(Record):
    FORMAT, NAME = "tests/run", "a report of a run"

    seconds: float


def test_the_kind_is_told_by_the_format():
    for record in (WALK, Run(3.0)):
        assert read(record.to_json(), (Walk, Run), "a report") == record
    for text, message in (("{", "This is not a report: it is not JSON"), ("3", "This JSON text is not a report"),
                          ("{}", "not a report"), ('{"format": {}}', "not a report"),
                          (WALK.to_json(), "not a report"), ('{"format": "tests/run", "version": 2}', "up to 1"),
                          ('{"format": "tests/run", "version": 1}', "report of a run, but a damaged one")):
        with pytest.raises(ValueError, match=message):
            read(text, [Run], "a report")


def test_text_of_a_class_with_fields_of_its_own():
    assert json_text("f", 3, {"a": ("é",)}) == '{\n "format": "f",\n "version": 3,\n "a": [\n  "\\u00e9"\n ]\n}'
    assert "é" in json_text("f", 3, {"a": "é"}, ascii_only=False)


def test_formats_are_names_of_one_kind_each():
    formats = [kind.FORMAT for kind, _ in KINDS.values()]
    assert len(set(formats)) == len(formats) and all(name.startswith("mental-averages/") for name in formats)
