"""What a file may claim, looked at before it is read."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from jrscli.errors import InputError
from jrscli.io import read_image, read_labels, write_image
from jrscli.io.caps import MAX_TABLE, MAX_TEXT, check_claim
from jrscli.io.points import read_points
from jrscli.io.sidecar import read_sidecar
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes(1000))
    return path


@pytest.mark.parametrize(
    ("claim", "options", "code"),
    [
        (1000, {"packed": False}, None),
        (1001, {"packed": False}, "image.unreadable"),
        (1001, {"packed": False, "code": "xfm.unreadable"}, "xfm.unreadable"),
        (-1, {"packed": True}, "image.unreadable"),
        (1_000_000, {"packed": True}, None),
        (2_000_000, {"packed": True}, "image.unreadable"),
        (400_000_000, {"packed": True, "stored": 1_000_000}, None),
        (600_000_000, {"packed": True, "stored": 1_000_000}, "input.too_big"),
        (400_000_000, {"packed": True, "stored": 1_000_000, "in_memory": 1_600_000_000}, "input.too_big"),
        (600_000_000, {"packed": True, "stored": 4_000_000}, None),
        (9_000_000_000, {"packed": False, "stored": 9_000_000_000}, "input.too_big"),
    ],
)
def test_what_may_be_claimed(file, claim, options, code):
    if code is None:
        check_claim(claim, file, **options)
        return
    with pytest.raises(InputError) as caught:
        check_claim(claim, file, **options)
    assert caught.value.code == code


def test_a_label_map_that_is_nearly_empty_is_read(tmp_path):
    """It packs more than 200-fold, which is no reason to refuse it."""
    array = np.zeros((200, 200, 100), np.uint8)
    array[3, 4, 5] = 1
    write_image(Volume(array, Geometry(array.shape, np.eye(4))), tmp_path / "seg.nii.gz")
    assert array.nbytes > 200 * (tmp_path / "seg.nii.gz").stat().st_size
    assert read_labels(tmp_path / "seg.nii.gz").numbers() == [1]


def test_a_bomb_is_refused(tmp_path):
    write_image(Volume(np.zeros((4, 4, 4), np.float32), Geometry((4, 4, 4), np.eye(4))), tmp_path / "a.nii")
    head = bytearray((tmp_path / "a.nii").read_bytes()[:352])
    head[42:48] = np.array([1000, 1000, 520], "<i2").tobytes()
    with gzip.open(tmp_path / "bomb.nii.gz", "wb", 1) as out:
        out.write(head)
        for _ in range(520):
            out.write(bytes(1_000_000))  # not all that it claims: it is the claim that counts
    with pytest.raises(InputError) as caught:
        read_image(tmp_path / "bomb.nii.gz")
    assert caught.value.code == "input.too_big"


def test_long_texts(tmp_path):
    with (tmp_path / "a.csv").open("wb") as file:
        file.truncate(MAX_TEXT + 1)
    with pytest.raises(InputError) as caught:
        read_points(tmp_path / "a.csv")
    assert caught.value.code == "input.too_big"
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(MAX_TABLE + 1)
    with pytest.raises(InputError) as caught:
        read_sidecar(tmp_path / "a.h5")
    assert caught.value.code == "input.too_big"
