"""Transform files that do not tell when they were written."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from jrscli.io.hdf5_times import lookup3, without_times
from jrscli.io.transforms import read_transform, write_transform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform


@pytest.mark.parametrize(
    ("data", "checksum"),
    [(b"", 0xDEADBEEF), (b"Four score and seven years ago", 0x17770551)],  # those in Jenkins' lookup3.c
)
def test_the_checksum_is_lookup3(data: bytes, checksum: int) -> None:
    assert lookup3(data) == checksum


def test_equal_transforms_are_equal_files_whenever_they_are_written(tmp_path: Path, oblique: Geometry) -> None:
    array = np.random.default_rng(1).normal(size=(*oblique.shape, 3)).astype(np.float32)
    transform = Transform((DisplacementField(array, oblique),))
    write_transform(transform, tmp_path / "a.h5")
    time.sleep(1.1 - time.time() % 1)  # the format counts seconds
    write_transform(transform, tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    points = oblique.index_to_world(np.array([[3.0, 4.0, 5.0]]))
    assert np.allclose(read_transform(tmp_path / "a.h5").map_points(points), transform.map_points(points), atol=1e-4)
    peer = sitk.ReadTransform(str(tmp_path / "a.h5"))  # the HDF5 library checks the checksums
    assert np.allclose(peer.TransformPoint(points[0].tolist()), transform.map_points(points)[0], atol=1e-4)


def test_what_only_looks_like_a_header_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    content = b"..OHDR\x02\x20" + bytes(range(1, 17)) + b"\x04abcd1234" + b"OHDR\x02"
    path.write_bytes(content)
    without_times(path)
    assert path.read_bytes() == content
