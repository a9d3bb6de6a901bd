"""Tables of measures: read back, written as CSV, and refused where they contradict themselves."""
import csv
import io
import json

import pytest

from mental_averages.dma.metrics import Estimate, Measure, MeasureTable

TABLE = MeasureTable({"encoder": "clip"}, [
    Measure.of("average", "FID", Estimate(12.5, 11.0, 14.0), better="lower", count=32, note="jackknife"),
    Measure("average", "KID", None, note="takes three pictures, of which \"two\", as, ever")])


def test_tables_are_read_back():
    assert MeasureTable.from_json(TABLE.to_json()) == TABLE
    assert json.loads(TABLE.to_json())["rows"][0]["value"] == 12.5


@pytest.mark.parametrize("old, new, message", [
    ('"high": 14.0', '"high": 12.0', "the FID of 'average' is outside its interval"),
    ('"value": 12.5', '"value": NaN', "is not finite"), ('"better": "lower"', '"better": "less"', "neither 'lower'"),
    ('"format": "mental-averages/measure-table"', '"format": "other"', "is not a table of measures"),
    ('"count": 32', '"number": 32', "damaged")])
def test_damaged_tables_are_refused(old, new, message):
    text = TABLE.to_json()
    assert old in text
    with pytest.raises(ValueError, match=message):
        MeasureTable.from_json(text.replace(old, new))


def test_csv_is_what_a_reader_reads():
    rows = list(csv.DictReader(io.StringIO(TABLE.to_csv())))
    assert [row["name"] for row in rows] == ["FID", "KID"]
    assert rows[0]["low"] == "11.0" and rows[1]["value"] == "" and rows[1]["note"] == TABLE.rows[1].note


@pytest.mark.parametrize("measure, text", [
    (Measure("a", "b", 0.0123456, 0.01, 0.02), "0.0123 (0.0100 to 0.0200)"), (Measure("a", "b", 0.0), "0.000"),
    (Measure("a", "b", -1234.5), "-1234"), (Measure("a", "b", None), "-"), (Measure("a", "b", 2.0, 1.0), "2.00"),
    (Measure("a", "b", 1.24e-7, 1e-9, 0.2), "1.24e-07 (1e-09 to 0.2)"), (Measure("a", "b", 1.5e-4), "0.000150"),
    (Measure("a", "b", 3e-17, -1e-16, 1e-16), "0.000 (-0.000 to 0.000)")])
def test_numbers_in_words(measure, text):
    assert measure.text() == text
