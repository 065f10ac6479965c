"""The expected cost of a registration is said before it starts."""

from __future__ import annotations

import pytest

from jrscli.cli.cost import _rounded


@pytest.mark.parametrize(
    ("seconds", "words"), [(1.0, "5 s"), (12.6, "15 s"), (57.4, "55 s"), (57.6, "1 min"), (95.0, "2 min"), (600.0, "10 min")]
)
def test_times_are_as_coarse_as_they_are_known(seconds, words):
    assert _rounded(seconds) == words


@pytest.mark.parametrize(("device", "where"), [("auto", " on a processor"), ("cpu", "")])
def test_register_says_what_it_expects_before_it_works(jrs, files, optimiser, tmp_path, device, where):
    pair = files.folder / "fixed.nii.gz", files.folder / "moving.nii.gz"
    lines = jrs("register", *pair, "-o", tmp_path / "out", "--device", device, "--progress", "json").err.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("{"))
    assert f"expected: about 15 s{where}, 0.6 GB" in lines[:first]
