"""Outputs appear whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jrscli.errors import WriteError
from jrscli.io.output import Exist, OutputFolder, atomic_path, is_safe_name, safe_stem
from jrscli.io.partial import sweep_target
from jrscli.io.run_record import RunRecord


def _write(folder: Path, text: str, exist: Exist = "suffix", name: str = "a.txt") -> Path:
    with OutputFolder(folder, exist=exist) as out:
        if not out.skipped:
            record = RunRecord("test", {})
            out.path(name).write_text(text)
            record.add_output("text", out.path(name))
            record.write(out.path("run.json"))
    return out.folder


def _everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_nothing_is_there_before_the_end(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "deep" / "out") as out:
        out.path("a.txt").write_text("x")
        partial = out.path("a.txt").parent
        assert not (tmp_path / "deep" / "out").exists()
        assert partial.name.endswith(".partial")
        assert stat.S_IMODE(partial.stat().st_mode) == 0o700
    assert _everything(tmp_path) == ["deep", "deep/out", "deep/out/a.txt"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with contextlib.suppress(RuntimeError), OutputFolder(tmp_path / "deep" / "out") as out:
        out.path("a.txt").write_text("x")
        raise RuntimeError
    assert _everything(tmp_path) == []


def test_permissions_are_those_of_ordinary_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        folder = _write(tmp_path / "out", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
    assert stat.S_IMODE((folder / "a.txt").stat().st_mode) == 0o640


def test_a_result_is_kept_and_the_next_gets_a_suffix(tmp_path: Path) -> None:
    folders = [_write(tmp_path / "out", text) for text in ("first", "second", "third")]
    assert [folder.name for folder in folders] == ["out", "out-2", "out-3"]
    assert (tmp_path / "out" / "a.txt").read_text() == "first"


def test_a_folder_with_other_things_is_written_into(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert _write(tmp_path / "out", "x") == tmp_path / "out"
    assert _everything(tmp_path / "out") == ["a.txt", "mine.txt", "run.json"]


def test_files_of_others_are_never_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("mine")
    assert _write(tmp_path / "out", "x") == tmp_path / "out-2"
    assert _everything(tmp_path / "out") == ["a.txt"]
    assert (tmp_path / "out" / "a.txt").read_text() == "mine"


def test_skip_error_and_overwrite(tmp_path: Path) -> None:
    _write(tmp_path / "out", "first")
    assert (_write(tmp_path / "out", "second", "skip") / "a.txt").read_text() == "first"
    with pytest.raises(WriteError) as caught:
        _write(tmp_path / "out", "second", "error")
    assert caught.value.code == "output.exists"
    _write(tmp_path / "out", "second", "overwrite")
    assert (tmp_path / "out" / "a.txt").read_text() == "second"
    assert _everything(tmp_path) == ["out", "out/a.txt", "out/run.json"]


def test_overwriting_removes_what_the_old_result_had_and_keeps_what_was_edited(tmp_path: Path) -> None:
    for edited in (False, True):
        folder = _write(tmp_path / str(edited), "first", name="labels.txt")
        if edited:
            (folder / "labels.txt").write_text("corrected by hand")
        _write(folder, "second", "overwrite", name="image.txt")
        assert (folder / "labels.txt").exists() == edited


def test_a_place_below_a_file_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    reached = False
    with pytest.raises(WriteError) as caught, OutputFolder(tmp_path / "file" / "out"):
        reached = True
    assert caught.value.code == "output.unwritable"
    assert not reached
    with pytest.raises(WriteError), OutputFolder(tmp_path / "file"):
        pass
    assert _everything(tmp_path) == ["file"]


def test_the_current_folder_can_be_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _write(Path(), "x")
    assert _everything(tmp_path) == ["a.txt", "run.json"]


KILLED = """
import os, signal, sys
from jrscli.io.output import OutputFolder
with OutputFolder(sys.argv[1]) as out:
    out.path("a.txt").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_killed_process_leaves_a_partial_folder_that_the_next_run_removes(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out")], check=False)
    assert ended.returncode == -9
    left = [path.name for path in tmp_path.iterdir()]
    assert len(left) == 1
    assert left[0].startswith(".out.")
    assert left[0].endswith(".partial")
    _write(tmp_path / "other", "x")
    assert left[0] in [path.name for path in tmp_path.iterdir()], "another target's leftovers are not ours"
    _write(tmp_path / "out", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"]


def test_the_partial_folder_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "out") as first:
        first.path("a.txt").write_text("first")
        assert _write(tmp_path / "out", "second").name == "out"
    assert first.folder.name == "out-2"
    assert (tmp_path / "out" / "a.txt").read_text() == "second"
    assert (tmp_path / "out-2" / "a.txt").read_text() == "first"


def test_single_files_are_atomic_too(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.nii.gz"
    with contextlib.suppress(RuntimeError), atomic_path(target) as (path, _):
        path.write_text("half")
        raise RuntimeError
    assert _everything(tmp_path) == []
    for expected in ("a.nii.gz", "a-2.nii.gz"):
        with atomic_path(target) as (path, final):
            path.write_text("x")
        assert final.name == expected
    assert _everything(tmp_path) == ["deep", "deep/a-2.nii.gz", "deep/a.nii.gz"]
    with atomic_path(target, exist="overwrite") as (path, _):
        path.write_text("new")
    assert target.read_text() == "new"


def test_single_folders_are_replaced_as_a_whole(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with atomic_path(tmp_path / "series", exist="overwrite") as (path, _):
            path.mkdir()
            (path / f"{text}.dcm").write_text(text)
    assert _everything(tmp_path) == ["series", "series/new.dcm"]


@given(st.text(max_size=100))
def test_stems_are_safe_names(text: str) -> None:
    assert is_safe_name(safe_stem(text))


@pytest.mark.parametrize("name", ["../a", "a/b", ".hidden", "-dash", "con.txt", "", "a" * 81, "ä.nii"])
def test_names_that_could_do_harm_are_refused(name: str, tmp_path: Path) -> None:
    assert not is_safe_name(name)
    with OutputFolder(tmp_path / "out") as out, pytest.raises(ValueError, match="not a plain file name"):
        out.path(name)


def test_the_record_holds_hashes_and_no_paths(tmp_path: Path) -> None:
    (tmp_path / "Doe^Jane.nii").write_text("x")
    record = RunRecord("register", {"fixed_mask": tmp_path / "Doe^Jane.nii", "limit": float("inf")})
    record.add_input("fixed", tmp_path / "Doe^Jane.nii", "nifti")
    record.add_step("linear", 1.23456, {"cost": float("nan")})
    record.write(tmp_path / "run.json")
    text = (tmp_path / "run.json").read_text()
    assert "Jane" not in text
    assert str(tmp_path) not in text
    document = json.loads(text)
    assert document["inputs"][0]["sha256"] == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    assert document["options"]["limit"] is None
    assert document["packages"]["numpy"]
    assert document["status"] == "ok"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    """A process replaces a file again and again and is killed; the file is one of its versions, never a part of one."""
    path, seen = tmp_path / "a.bin", set()
    path.write_bytes(b"0" * 300_000)
    for round_number in range(25):
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                for version in range(1, 200):
                    with atomic_path(path, exist="overwrite") as (temporary, _):
                        temporary.write_bytes(bytes([48 + version % 10]) * 300_000)
            os._exit(1)
        time.sleep(0.001 * round_number)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        data = path.read_bytes()
        assert len(data) == 300_000
        assert len(set(data)) == 1
        seen.add(data[0])
    assert len(seen) > 1  # it was in the middle of its work
    with atomic_path(path, exist="overwrite") as (temporary, _):
        temporary.write_bytes(b"end")
    assert _everything(tmp_path) == ["a.bin"]


def test_a_link_in_the_way_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").symlink_to(victim)
    _write(tmp_path / "out", "new", exist="overwrite")
    assert victim.read_text() == "mine"
    assert (tmp_path / "out" / "a.txt").read_text() == "new"
    assert not (tmp_path / "out" / "a.txt").is_symlink()


def test_who_alone_writes_a_target_removes_what_another_machine_left_of_it(tmp_path: Path) -> None:
    target = tmp_path / "case"
    with OutputFolder(target) as out:
        here = out.path("a.txt").parent
        elsewhere = here.with_name(f".case.ffffff-{os.getpid()}-abcdef.partial")
        other = here.with_name(f".case2.ffffff-{os.getpid()}-abcdef.partial")
        for folder in (elsewhere, other):
            folder.mkdir()
        sweep_target(target)
        assert [folder.exists() for folder in (here, elsewhere, other)] == [True, False, True]
