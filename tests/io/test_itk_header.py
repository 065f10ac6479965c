"""Headers of MetaImage and NRRD files: what ITK writes passes, what could hurt does not."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from jrscli.errors import InputError
from jrscli.io import read_image
from jrscli.io.itk_header import check_itk_header


@pytest.mark.parametrize("ending", ["mha", "mhd", "nrrd", "nhdr"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", [sitk.sitkUInt8, sitk.sitkInt16, sitk.sitkFloat64, sitk.sitkInt64, sitk.sitkVectorFloat32])
@pytest.mark.parametrize("dimension", [2, 3])
def test_what_itk_writes_passes(tmp_path, ending, packed, kind, dimension):
    image = sitk.Image([5, 4, 3][:dimension], kind, 3 if kind == sitk.sitkVectorFloat32 else 0)
    image.SetMetaData("Comment", "some words")
    sitk.WriteImage(image, str(tmp_path / f"a.{ending}"), packed)
    check_itk_header(tmp_path / f"a.{ending}")


@pytest.fixture
def pair(tmp_path):
    """A header and its voxels in two files, as text and path."""

    def make(ending):
        image = sitk.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
        sitk.WriteImage(image, str(tmp_path / f"a.{ending}"))
        return tmp_path / f"a.{ending}", (tmp_path / f"a.{ending}").read_text()

    return make


@pytest.mark.parametrize(
    ("ending", "old", "new", "code"),
    [
        ("mhd", "= a.raw", "= /etc/hostname", "image.unreadable"),
        ("mhd", "= a.raw", "= ../a.raw", "image.unreadable"),
        ("mhd", "= a.raw", "= LIST", "image.unreadable"),
        ("mhd", "= a.raw", "= %03d.raw 1 9 1", "image.unreadable"),
        ("mhd", "NDims = 3", "NDims = -3", "image.unreadable"),
        ("mhd", "5 4 3", "50 40 30", "image.unreadable"),
        ("mhd", "5 4 3", "99999 99999 99999", "input.too_big"),
        ("mhd", "5 4 3", "5 4", "image.unreadable"),
        ("mhd", "ElementSpacing = 1 1 1", "ElementSpacing = 1 nan 1", "image.unreadable"),
        ("nhdr", "data file: a.raw", "data file: /etc/hostname", "image.unreadable"),
        ("nhdr", "kinds: domain domain domain", "kinds: do", "image.unreadable"),
        ("nhdr", "sizes: 5 4 3", "sizes: 5 4 -3", "image.unreadable"),
        ("nhdr", "encoding: raw", "encoding: bzip2", "image.unreadable"),
        ("nhdr", "dimension: 3", "dimension: 17", "image.unreadable"),
    ],
)
def test_what_could_hurt_is_refused(pair, ending, old, new, code):
    path, text = pair(ending)
    assert read_image(path).volume.array.sum() == 1770
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert caught.value.code == code


def test_a_link_out_of_the_folder_is_not_followed(pair, tmp_path):
    path, _ = pair("mhd")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "a.raw").rename(tmp_path / "elsewhere" / "b.raw")
    (tmp_path / "a.raw").symlink_to(tmp_path / "elsewhere" / "b.raw")
    with pytest.raises(InputError):
        read_image(path)
