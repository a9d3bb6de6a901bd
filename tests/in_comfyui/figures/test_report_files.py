"""SaveReport and LoadReport."""
import json

import pytest
from alignments import run_align


def test_report_is_saved_and_loaded(hspace, prompts, empty_latent, folders):
    from mental_averages.nodes.figures import LoadReport, SaveReport

    _, report = run_align(hspace, prompts, empty_latent)
    name = SaveReport.execute(report, "reports/heart").args[0]
    assert name == "reports/heart_00001_.json"
    loaded = LoadReport.execute(name).args[0]
    assert loaded == report
    before = LoadReport.fingerprint_inputs(name)
    (folders / "output" / name).write_text(report.to_json() + " ")
    assert LoadReport.fingerprint_inputs(name) != before


def test_reports_from_elsewhere(folders):
    from mental_averages.nodes.figures import LoadReport

    with pytest.raises(ValueError, match="no file"):
        LoadReport.execute("missing.json")
    (folders / "input" / "other.json").write_text(json.dumps({"format": "something"}))
    with pytest.raises(ValueError, match="not a report"):
        LoadReport.execute("other.json")
    (folders / "input" / "picture.json").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ValueError, match="not JSON"):
        LoadReport.execute("picture.json")
    (folders / "secret.json").write_text("{}")
    with pytest.raises(ValueError, match="no file"):
        LoadReport.execute("../secret.json")
