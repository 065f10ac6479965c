"""Tables as text: no line is too long, no row is broken."""

from hypothesis import given
from hypothesis import strategies as st

from jrscli.report.text_table import as_text

WORDS = st.text("abcdefgh_(1", min_size=0, max_size=30)


def test_numbers_stand_on_the_right_and_names_on_the_left():
    assert as_text(["name", "x"], [["a", "1.0"], ["bcd", "12.0"]]) == "name     x\na      1.0\nbcd   12.0"


def test_long_headers_are_broken():
    lines = as_text(["name", "centroid_shift.v1 mm"], [["a", "1"]], 80).splitlines()
    assert [line.split()[-1] for line in lines[:3]] == ["centroid_", "shift.v1", "mm"]


def test_remarks_go_below():
    assert as_text(["name", "x", "remarks"], [["a", "1", "gap"], ["b", "2", ""]], 80).endswith("\n\na: gap")


def test_in_a_pipe_every_row_is_one_line():
    text = as_text(["name", "centroid_shift.v1 mm", "remarks"], [["a", "1", "gap"]])
    assert [line.split() for line in text.splitlines()] == [["name", "centroid_shift.v1", "mm", "remarks"], ["a", "1", "gap"]]


def test_names_are_cut_before_columns_move():
    text = as_text(["name", "x"], [["a" * 40, "1.000"]], 20)
    assert text.splitlines()[1] == "a" * 12 + "…" + "  1.000"


def test_columns_that_do_not_fit_make_a_second_block():
    text = as_text(["name", *"xyz"], [["a", *["1234567"] * 3]], 30)
    blocks = [block.splitlines() for block in text.split("\n\n")]
    assert [block[-1].split() for block in blocks] == [["a", "1234567", "1234567"], ["a", "1234567"]]


@given(st.lists(WORDS, min_size=2, max_size=9), st.integers(1, 5), st.integers(40, 120))
def test_no_line_is_longer_than_the_terminal(header, rows, width):
    lines = [[f"structure {'x' * 7 * n}", *["123.456"] * (len(header) - 1)] for n in range(rows)]
    text = as_text(["name", *[title[:20] for title in header[1:]]], lines, width)
    assert max(map(len, text.splitlines())) <= width
    assert sum(line.startswith("structure") for line in text.splitlines()) % rows == 0
