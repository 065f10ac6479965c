"""The demo writes a study, carries its contours and scores them; the optimiser is a stand-in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jrscli.io.dicom_series import read_series
from jrscli.io.rtstruct import read_rtstruct


def test_the_demo_names_what_it_wrote_and_prints_the_table(
    jrs: Callable, optimiser: Any, tmp_path: Path, dicom_errors: Callable
) -> None:
    said = jrs("demo", "-o", tmp_path / "demo")
    assert said.code == 0, said.err
    rows = [line.split("\t") for line in said.out.splitlines() if "\t" in line]
    assert {kind for kind, _ in rows} >= {"study", "rtstruct", "overlay", "metrics-csv", "run"}
    assert all(Path(path).exists() for _, path in rows)
    names = [line.split()[0] for line in said.out.splitlines() if "\t" not in line]
    assert names == ["name", "Body", "Bladder", "Rectum", "FemoralHead_L", "FemoralHead_R", "PTV", "mean"]
    assert "mean Dice before" in said.err
    planned, daily = (read_series(tmp_path / "demo" / name)[1] for name in ("planning-ct", "daily-ct"))
    assert planned.frame_of_reference_uid != daily.frame_of_reference_uid
    assert planned.series_instance_uid != daily.series_instance_uid
    found = read_rtstruct(tmp_path / "demo" / "result" / "RS_space-fixed_propagated.dcm", daily)
    assert found.frame_of_reference_uid == daily.frame_of_reference_uid
    again = (
        "evaluate",
        tmp_path / "demo" / "RS_daily-truth.dcm",
        tmp_path / "demo" / "result" / "RS_space-fixed_propagated.dcm",
    )
    document = json.loads(jrs(*again, "--reference", tmp_path / "demo" / "daily-ct", "--json", "-o", tmp_path / "ev").out)
    written = json.loads((tmp_path / "demo" / "result" / "metrics.json").read_text())
    for one, other in zip(document["structures"], written["structures"], strict=True):
        # the printed command gives the printed numbers
        assert abs(one["metrics"]["dice.v1"]["value"] - other["metrics"]["dice.v1"]["value"]) < 0.002
    # all that it writes is valid (one run serves both: making the study takes seconds)
    series = [sorted((tmp_path / "demo" / name).iterdir()) for name in ("planning-ct", "daily-ct")]
    structures = [*(tmp_path / "demo").glob("RS_*.dcm"), *(tmp_path / "demo" / "result").glob("*.dcm")]
    assert len(structures) == 3
    for path in (*(slices[at] for slices in series for at in (0, -1)), *structures):
        assert not dicom_errors(path)
