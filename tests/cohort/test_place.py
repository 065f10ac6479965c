"""Locks and links of cases."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jrscli.cohort import place
from jrscli.cohort.case import Case, Input
from jrscli.io.hashes import input_sha256

HOLD = """
import sys
from pathlib import Path
from jrscli.cohort.place import claimed
with claimed(Path(sys.argv[1]), "a"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_case_is_held_by_one_process_and_freed_by_its_death(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "_WAIT_SECONDS", 0.2)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with place.claimed(tmp_path, "b"):
            pass
        with pytest.raises(place.BusyError), place.claimed(tmp_path, "a"):
            pass
        other.kill()
        other.wait()
    with place.claimed(tmp_path, "a"):
        pass


def test_a_series_is_a_folder_of_links_without_names_or_neighbours(tmp_path: Path) -> None:
    for name in ("Doe^Jane 1.dcm", "Doe^Jane 2.dcm", "other.dcm"):
        (tmp_path / name).write_bytes(name.encode())
    paths = tuple(sorted(tmp_path.glob("Doe*")))
    out = tmp_path / "out"
    case = Case("c", {"image": Input(paths, series=True)})
    with place.staged(out, case) as found:
        (folder,) = found["image"]
        assert sorted(path.name for path in folder.iterdir()) == ["00001.dcm", "00002.dcm"]
        alone = tmp_path / "alone"
        alone.mkdir()
        for path in paths:
            (alone / path.name).write_bytes(path.read_bytes())
        assert input_sha256(folder) == input_sha256(alone)
    assert list(out.iterdir()) == []
    assert all(path.exists() for path in paths)
