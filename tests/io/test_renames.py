"""Lists of new names."""

from __future__ import annotations

import pytest

from jrscli.errors import InputError
from jrscli.io.renames import read_renames

WANTED = {"Blase": "Bladder", "Femur, links": "Femur_Head_L"}


@pytest.mark.parametrize(
    "text",
    [
        'Blase,Bladder\n"Femur, links",Femur_Head_L\n',
        'from,to\nBlase , Bladder\n\n"Femur, links",Femur_Head_L',
        "Blase;Bladder\r\nFemur, links;Femur_Head_L\r\n",
        '{"Blase": "Bladder", "Femur, links": "Femur_Head_L"}',
    ],
)
def test_csv_and_json_say_the_same(tmp_path, text):
    (tmp_path / "names").write_text(text)
    assert read_renames(tmp_path / "names") == WANTED


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "rename.unreadable"),
        ("a,b,c\n", "rename.unreadable"),
        ("a\n", "rename.unreadable"),
        ('{"a": 3}', "rename.unreadable"),
        ('{"a": "b"', "rename.unreadable"),
        ("a,b\na,c\n", "rename.twice"),
        ('{"a": "b", "a": "c"}', "rename.twice"),
        ("a,\n", "rename.name"),
        ("a," + "x" * 65, "rename.name"),
        ("a,x\\y", "rename.name"),
    ],
)
def test_what_is_no_such_list_is_refused(tmp_path, text, code):
    (tmp_path / "names").write_text(text)
    with pytest.raises(InputError) as caught:
        read_renames(tmp_path / "names")
    assert caught.value.code == code


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "names").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(InputError) as caught:
        read_renames(tmp_path / "names")
    assert caught.value.code == "rename.unreadable"
