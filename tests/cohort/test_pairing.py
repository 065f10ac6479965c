"""Which series go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from jrscli.cohort.pairing import plan_of
from jrscli.errors import UsageError
from jrscli.io.survey import PlainImage, SeriesFiles, StructureFile, Survey

ROOT = Path("root")


def series(uid: str, patient: str = "P-1", modality: str = "CT", date: str = "2020", frame: str = "") -> SeriesFiles:
    return SeriesFiles((ROOT / uid / "1.dcm",), patient, modality, uid, frame or f"f{uid}", frozenset({f"{uid}.1"}), date, 1000)


def drawn(on: str, uid: str = "rs", patient: str = "P-1", frames: tuple[str, ...] = ()) -> StructureFile:
    return StructureFile(ROOT / f"{uid}.dcm", patient, uid, frozenset(frames), frozenset({f"{on}.1"}))


def pairs(plan: object) -> list[dict[str, str]]:
    return [{role: one.paths[0].parent.name for role, one in case.inputs.items()} for case in plan.cases]  # type: ignore[attr-defined]


def codes(plan: object) -> list[str]:
    return [one.error.code for one in plan.refused]  # type: ignore[attr-defined]


def test_contours_go_from_the_series_they_were_drawn_on_to_each_other_one() -> None:
    found = Survey((series("a"), series("b"), series("c")), (drawn("b"),))
    plan = plan_of(found, "propagate-contours", "planning-to-each", ROOT)
    assert sorted((one["planning"], one["daily"]) for one in pairs(plan)) == [("b", "a"), ("b", "c")]
    assert {case.key[:4] for case in plan.cases} == {"P-1-"}


def test_patients_in_one_folder_are_kept_apart() -> None:
    found = Survey((series("a"), series("b", "P-2"), series("c"), series("d", "P-2")), (drawn("a"), drawn("d", "r2", "P-2")))
    plan = plan_of(found, "register", "planning-to-each", ROOT)
    assert sorted((one["moving"], one["fixed"]) for one in pairs(plan)) == [("a", "c"), ("d", "b")]


def test_a_key_stays_when_another_series_arrives() -> None:
    first = plan_of(Survey((series("a"), series("b")), (drawn("a"),)), "register", "planning-to-each", ROOT)
    later = plan_of(Survey((series("a"), series("b"), series("c")), (drawn("a"),)), "register", "planning-to-each", ROOT)
    assert {case.key for case in first.cases} < {case.key for case in later.cases}


@pytest.mark.parametrize(
    ("found", "rule", "code"),
    [
        (Survey((series("a"), series("b"))), "planning-to-each", "pair.ambiguous"),
        (Survey((series("a"), series("b"))), "date", "pair.ambiguous"),
        (Survey((series("a"),), (drawn("a"),)), "planning-to-each", "pair.missing"),
        (Survey((series("a"), series("b")), (drawn("x"),)), "planning-to-each", "pair.missing"),
        (Survey((), (drawn("x"),)), "planning-to-each", "pair.missing"),
        (Survey((series("a"), series("b")), (drawn("a"), drawn("b", "r2"))), "planning-to-each", "pair.ambiguous"),
        (Survey((series("a"), series("b")), (drawn("a"), drawn("a", "r2"))), "planning-to-each", "pair.ambiguous"),
        (
            Survey((series("a", frame="f"), series("b", frame="f")), (drawn("x", frames=("f",)),)),
            "planning-to-each",
            "pair.ambiguous",
        ),
    ],
)
def test_what_is_in_doubt_is_not_guessed(found: Survey, rule: str, code: str) -> None:
    plan = plan_of(found, "register", rule, ROOT)  # type: ignore[arg-type]
    assert plan.cases == ()
    assert codes(plan) == [code]


def test_by_date_the_earliest_is_moved() -> None:
    found = Survey((series("late", date="2021"), series("early", date="2020"), series("later", date="2022")))
    assert {one["moving"] for one in pairs(plan_of(found, "register", "date", ROOT))} == {"early"}


def test_by_modality_others_are_left_out() -> None:
    found = Survey((series("a"), series("b"), series("pet", modality="PT")), (drawn("a"),))
    assert [one["fixed"] for one in pairs(plan_of(found, "register", "modality", ROOT))] == ["b"]


def image(name: str, grid: str, labels: bool = False) -> PlainImage:
    return PlainImage(ROOT / "case" / name, 1000, labels, grid)


def test_of_two_image_files_that_on_the_grid_of_the_labels_is_planning() -> None:
    found = Survey(images=(image("a.nii", "g1"), image("b.nii", "g2"), image("c.nii", "g2", labels=True)))
    (case,) = plan_of(found, "propagate-contours", "planning-to-each", ROOT).cases
    assert {role: one.paths[0].name for role, one in case.inputs.items()} == {
        "planning": "b.nii",
        "contours": "c.nii",
        "daily": "a.nii",
    }


def test_two_image_files_alone_do_not_say_which_is_fixed() -> None:
    assert codes(plan_of(Survey(images=(image("a.nii", "g"), image("b.nii", "g"))), "register", "date", ROOT)) == [
        "pair.ambiguous"
    ]


def test_every_image_is_segmented_and_no_label_file() -> None:
    found = Survey((series("a"),), (), (image("b.nii", "g"), image("c.nii", "g", labels=True)))
    assert [case.key[:2] for case in plan_of(found, "segment", "planning-to-each", ROOT).cases] == ["P-", "b"]


def test_a_folder_does_not_say_which_contours_are_true() -> None:
    with pytest.raises(UsageError) as caught:
        plan_of(Survey(), "evaluate", "planning-to-each", ROOT)
    assert caught.value.code == "pair.evaluate"
