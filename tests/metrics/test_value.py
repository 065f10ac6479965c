"""Value and the rows and summaries made of it."""

import pytest

from jrscli.metrics.evaluation import Evaluation, Row
from jrscli.metrics.value import Value, emptiness


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_value_refuses_what_json_has_no_word_for(number):
    with pytest.raises(ValueError, match=r"hd95\.v1"):
        Value("hd95.v1", number, "mm")


@pytest.mark.parametrize(
    ("sizes", "status"), [((1, 1), "ok"), ((1, 0), "test_empty"), ((0, 1), "ref_empty"), ((0, 0), "both_empty")]
)
def test_emptiness(sizes, status):
    assert emptiness(*sizes) == status


def table(*pairs, name="dice.v1"):
    return Evaluation("labels", tuple(Row(row, {name: Value(name, value, "")}) for row, value in pairs))


def test_summary_leaves_null_out_and_says_so():
    (found,) = table(("A", 0.5), ("B", None), ("C", 0.9)).summary
    assert (found.n, found.left_out) == (2, 1)
    assert found.mean == pytest.approx(0.7)
    assert found.sd == pytest.approx(0.4 / 2**0.5)


def test_summary_by_hand():
    (found,) = table(*((str(n), float(n)) for n in range(1, 12)), name="msd.v1").summary
    assert (found.n, found.mean, found.median, found.p5, found.p95) == (11, 6.0, 6.0, 1.5, 10.5)
    assert found.sd == pytest.approx(11**0.5)
    assert (found.worst, found.worst_value) == ("11", 11.0)


def distances(*values):
    rows = [
        Row(str(n), {"hd95.v1": Value("hd95.v1", value, "mm", "ok" if value else "test_empty", None if value else "+inf")})
        for n, value in enumerate(values)
    ]
    return Evaluation("labels", tuple(rows)).summary[0]


def test_distance_without_end_is_counted_and_not_averaged():
    found = distances(1.0, None, 3.0)
    assert (found.n, found.left_out, found.infinite) == (2, 1, 1)
    assert (found.mean, found.sd, found.ci95) == (None, None, None)
    assert (found.median, found.p95) == (3.0, None)
    assert (found.worst, found.worst_value) == ("1", None)


def test_median_without_end_has_no_number():
    assert (distances(1.0, None, None).median, distances(None).median) == (None, None)
    assert distances(1.0, 3.0).mean == 2.0


def test_summary_of_nothing_has_no_mean():
    (found,) = table(("A", None)).summary
    assert (found.n, found.left_out, found.mean, found.worst) == (0, 1, None, None)


def test_summary_of_one_has_no_sd():
    (found,) = table(("A", 0.5)).summary
    assert (found.mean, found.sd) == (0.5, None)


@pytest.mark.parametrize(
    ("name", "worst"), [("dice.v1", "low"), ("nsd.v1(2mm)", "low"), ("hd95.v1", "high"), ("volume.v1(test)", None)]
)
def test_worst_is_named(name, worst):
    (found,) = table(("low", 0.2), ("high", 0.8), name=name).summary
    assert found.worst == worst


def test_worst_volume_difference_may_be_negative():
    (found,) = table(("shrunk", -3.0), ("grown", 2.0), name="volume_diff.v1").summary
    assert (found.worst, found.worst_value) == ("shrunk", -3.0)


def test_a_row_that_lacks_a_metric_counts_as_left_out():
    rows = (Row("A", {"dice.v1": Value("dice.v1", 1.0, "")}), Row("B", {}))
    (found,) = Evaluation("labels", rows).summary
    assert found.left_out == 1
