"""The data list: who is where, what is missing, what is refused."""

import numpy as np
import pytest

from jrscli.errors import InputError
from jrscli.runtime.card import Grid
from jrscli.training.cases import DataList, Split, read_data
from jrscli.training.prepared import Cases, prepare_case, volumes_cc

from .conftest import write_list


def test_patients_are_found_and_divided(study):
    _, cases = read_data(study)
    assert [(case.patient, case.part) for case in cases] == [
        *((str(n), "train") for n in range(5)),
        ("5", "validation"),
        ("6", "validation"),
        ("7", "test"),
    ]


def test_a_case_without_a_label_file_is_unlabelled(study, tmp_path):
    listed = write_list(
        tmp_path / "listed.yaml",
        images=None,
        label_files=None,
        split=None,
        cases=[
            {"patient": "a", "image": "images/case_0.nii.gz"},
            {"patient": "b", "image": "images/case_1.nii.gz", "labels": "labels/case_1.nii.gz"},
        ],
    )
    data, cases = read_data(listed, root=study.parent)
    assert [case.labels is None for case in cases] == [True, False]
    assert prepare_case(data, cases[0]).labels is None
    assert Cases(data, cases, "train").labelled == [1]


def test_few_shot_hides_the_labels_of_training_cases_only(study):
    _, cases = read_data(study, changes={"labelled": 2})
    assert sum(case.labels is not None for case in cases if case.part == "train") == 2
    assert all(case.labels is not None for case in cases if case.part != "train")
    _, other = read_data(study, changes={"labelled": 2, "labelled_seed": 1})
    assert [case.labels for case in other] != [case.labels for case in cases]


def test_fractions_divide_by_patient_and_keep_to_their_seed():
    patients = [str(n) for n in range(20)]
    parts = Split(validation_fraction=0.2, test_fraction=0.1).parts(patients)
    assert sorted(parts.values()) == ["test"] * 2 + ["train"] * 14 + ["validation"] * 4
    assert parts == Split(validation_fraction=0.2, test_fraction=0.1).parts(patients[::-1])
    assert parts != Split(validation_fraction=0.2, test_fraction=0.1, seed=1).parts(patients)


def test_images_come_as_the_runtime_prepares_them(study):
    data, cases = read_data(study)
    case = prepare_case(data, cases[0])
    assert case.image.shape == (1, 32, 32, 32)
    assert case.labels.shape == (32, 32, 32)
    assert (float(case.image.min()), float(case.image.max())) == (0, 1)
    assert float(case.image[0][case.labels == 2].mean()) > float(case.image[0][case.labels == 1].mean()) > 0.2


def test_volumes_of_labels_have_a_margin(study):
    data, cases = read_data(study)
    training = Cases(data, cases, "train")
    sizes = [int((case.labels == 1).sum()) / 1000 for case in training]
    low, high = volumes_cc(training)["left"]
    assert (low, high) == (pytest.approx(0.75 * min(sizes), rel=0.01), pytest.approx(1.25 * max(sizes), rel=0.01))


def test_a_method_for_slices_knows_the_volumes_of_whole_images(study, tmp_path):
    grid = {"orientation": None, "dims": 2, "spacing_mm": [1, 1, 5], "size": [32, 32, 1]}
    by_slices = read_data(write_list(tmp_path / "slices.yaml", grid=grid), root=study.parent)
    volumes = read_data(study)
    assert volumes_cc(Cases(*by_slices, "train")) == volumes_cc(Cases(*volumes, "train"))


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"shape": [1]}, "data.invalid", "unknown key shape"),
        ({"images": None}, "data.invalid", "either cases, or images"),
        ({"images": "images/*_*.nii.gz"}, "data.invalid", "one *"),
        ({"labels": ["background"]}, "data.invalid", "at least one more"),
        ({"grid": {"multiple": [16, 16, 16]}}, "data.invalid", "grid.size"),
        ({"split": {"validation": ["1"], "test": ["1"]}}, "data.invalid", "validation and for test"),
        ({"images": "nowhere/*.nii.gz"}, "data.empty", "0 training cases"),
        ({"images": None, "cases": [{"patient": "a", "image": "images/none.nii.gz"}]}, "data.missing", "none.nii.gz"),
    ],
)
def test_a_wrong_list_is_refused(study, tmp_path, changes, code, says):
    with pytest.raises(InputError) as caught:
        read_data(write_list(tmp_path / "data.yaml", **changes), root=study.parent)
    assert caught.value.code == code
    assert says in caught.value.message


def test_a_label_without_a_name_is_refused(study, tmp_path):
    data, cases = read_data(write_list(tmp_path / "data.yaml", labels=["background", "left"]), root=study.parent)
    with pytest.raises(InputError) as caught:
        prepare_case(data, cases[0])
    assert caught.value.code == "labels.unknown"


def test_one_patient_in_two_parts_is_refused(study, tmp_path):
    entries = [{"patient": "a", "image": f"images/case_{n}.nii.gz", "part": part} for n, part in enumerate(["train", "test"])]
    with pytest.raises(InputError) as caught:
        read_data(write_list(tmp_path / "data.yaml", images=None, label_files=None, cases=entries), root=study.parent)
    assert "one patient" in caught.value.message


def test_an_empty_list_of_labels_is_a_study_without_any():
    assert DataList(name="n", licence="l", grid=Grid(size=(16, 16, 16)), images="*.nii").labels == ()


def test_labels_can_be_other_numbers_and_several_of_them(study, tmp_path):
    """Both ellipsoids as one label, then only the second one; what is not named is background."""
    listed = {"root": str(study.parent), "labels": ["background", "both"]}
    both = read_data(write_list(tmp_path / "both.yaml", merge={"both": [1, 2]}, **listed))
    second = read_data(write_list(tmp_path / "second.yaml", merge={"both": [2]}, **listed))
    data, cases = read_data(study)
    true = prepare_case(data, cases[0]).labels
    assert ((prepare_case(both[0], both[1][0]).labels == 1) == (true > 0)).all()
    assert ((prepare_case(second[0], second[1][0]).labels == 1) == (true == 2)).all()
    with pytest.raises(InputError, match="merge"):
        read_data(write_list(tmp_path / "wrong.yaml", merge={"left": [1]}, **listed))


def test_simulated_series_are_divided_like_patients(tmp_path):
    given = {"simulate": {"contact": {"series": 5, "frames": 4}}, "images": None, "label_files": None, "labels": list("abcd")}
    grid = {"dims": 2, "orientation": None, "spacing_mm": [2, 2, 2], "size": [32, 32, 1]}
    split = {"validation": ["series-03"], "test": ["series-04"]}
    data, cases = read_data(write_list(tmp_path / "made.yaml", grid=grid, split=split, pairs="visits", **given))
    assert [case.part for case in cases] == ["train"] * 12 + ["validation"] * 4 + ["test"] * 4
    made = Cases(data, cases, "validation")
    assert made[1].image.shape == (1, 32, 32, 1)
    assert made.make_a_pair(0, 3)
    assert len(made.labelled) == 4
    with pytest.raises(InputError, match="simulated: true"):
        read_data(write_list(tmp_path / "real.yaml", simulated=False, grid=grid, split=split, **given))


def test_contrasts_of_a_case_are_channels_of_one_image(study, tmp_path):
    """The second contrast is the first one with its grey values turned round, on a coarser grid."""
    from jrscli.io import read_image, write_image
    from jrscli.spatial.resample import resample
    from jrscli.spatial.volume import Volume

    for n in range(3):
        volume = read_image(study.parent / f"images/case_{n}.nii.gz").volume
        write_image(volume, tmp_path / f"case_{n}_one.nii.gz")
        other = Volume(100 - volume.array, volume.geometry)
        write_image(resample(other, volume.geometry.with_spacing((1.5, 1.5, 1.5))), tmp_path / f"case_{n}_two.nii.gz")
    listed = write_list(
        tmp_path / "data.yaml",
        contrasts=["one", "two"],
        images=None,
        label_files=None,
        cases=[{"patient": str(n), "image": f"case_{n}_{{contrast}}.nii.gz"} for n in range(3)],
        split={"validation": ["2"]},
    )
    data, cases = read_data(listed)
    assert [case.part for case in cases] == ["train", "train", "validation"]  # without a part they are divided by the split
    image = prepare_case(data, cases[0]).image
    assert image.shape == (2, 32, 32, 32)
    inner = image[:, 6:-6, 6:-6, 6:-6].reshape(2, -1)
    assert np.corrcoef(inner)[0, 1] < -0.9
    by_pattern = write_list(
        tmp_path / "pattern.yaml", contrasts=["one", "two"], images="case_*_{contrast}.nii.gz", label_files=None, split={}
    )
    found = read_data(by_pattern)[1]
    assert [case.others[0].name for case in found] == [f"case_{n}_two.nii.gz" for n in range(3)]
    with pytest.raises(InputError, match="come together"):
        read_data(write_list(tmp_path / "alone.yaml", contrasts=["one", "two"]))


def test_a_grid_may_be_centred_on_the_grey_values(study, tmp_path):
    """As the runtime does: the same case, cut round its middle or round what is bright."""
    grid = {"orientation": "RAS", "spacing_mm": [1, 1, 1], "size": [16, 16, 16], "centre": "mass"}
    data, cases = read_data(write_list(tmp_path / "data.yaml", root=str(study.parent), grid=grid))
    plain, _ = read_data(write_list(tmp_path / "plain.yaml", root=str(study.parent), grid={**grid, "centre": "image"}))
    shifted = [not np.array_equal(prepare_case(data, case).image, prepare_case(plain, case).image) for case in cases]
    assert any(shifted)
