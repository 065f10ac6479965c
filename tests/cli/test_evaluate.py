"""``jrs evaluate``: what it reads, prints and writes, and how it judges planted errors."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from jrscli.io import write_image, write_labels
from jrscli.io.dicom_write import write_series
from jrscli.io.rtstruct_write import write_rtstruct
from jrscli.io.sidecar import Sidecar
from jrscli.io.transforms import write_transform
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.workflows.contours import structures_of_labels

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/reference/metrics.schema.json").read_text("utf-8"))
GRID = Geometry((40, 36, 20), np.diag((2.0, 2.0, 3.0, 1.0)))
ORGANS = {
    1: ("Bladder", (14, 14, 6), (26, 24, 14)),
    2: ("Kidney_L", (29, 6, 5), (37, 14, 13)),
    3: ("Kidney_R", (3, 6, 5), (11, 14, 13)),
}


@pytest.fixture
def jrs(jrs):
    """The command without its report, which has tests of its own and takes a second."""
    return lambda *words: jrs(*words, *(["--no-report"] if words[0] == "evaluate" else []))


def organs(**changed):
    """The three organs as a label map; ``Bladder=((…), (…))`` puts one elsewhere, ``Bladder=None`` leaves it out."""
    array = np.zeros(GRID.shape, np.uint32)
    for number, (name, low, high) in ORGANS.items():
        place = changed.get(name, (low, high))
        if place is not None:
            array[tuple(slice(a, b) for a, b in zip(*place, strict=True))] = number
    return LabelMap(array, GRID, {number: name for number, (name, *_) in ORGANS.items()})


@pytest.fixture
def pair(tmp_path):
    """``pair(Bladder=…)`` writes a reference and a prediction and gives both paths."""

    def write(**changed):
        write_labels(organs(), tmp_path / "truth.nii.gz")
        write_labels(organs(**changed), tmp_path / "found.nii.gz")
        return tmp_path / "truth.nii.gz", tmp_path / "found.nii.gz"

    return write


def gate_row(said, id_, structure):
    gate = json.loads(said.out)["gate"]
    return next(row for row in gate["rows"] if (row["id"], row["structure"]) == (id_, structure))


def assert_coloured(jrs, folder, status, sentence):
    """The page of a run: the banner, the row and the card have the colour of the status; the sentence stands in it."""
    said = jrs("report", folder, "-o", folder / "page.html")
    text = said.paths["report"].read_text("utf-8")
    assert f'<header class="banner {status}">' in text
    (line,) = {line for line in re.findall(r"<tr>.*?</tr>", text) if sentence in line}
    assert f'<span class="status {status}">' in line


def test_good_contours_pass(jrs, pair, tmp_path):
    said = jrs("evaluate", *pair(), "-o", tmp_path / "out", "--gate", "fail")
    assert said.code == 0
    assert "gate: PASS (v = 3 mm; 9 pass), for review by a qualified person" in said.out
    assert "warning" not in said.err
    assert set(said.paths) >= {"metrics-json", "metrics-csv", "metrics-md", "run"}


SHIFTED = ((24, 14, 6), (36, 24, 14))


def test_shifted_organ_fails(jrs, pair, tmp_path):
    said = jrs("evaluate", *pair(Bladder=SHIFTED), "-o", tmp_path / "a", "--gate", "fail", "--json")
    row = gate_row(said, "msd.v1", "Bladder")
    assert (said.code, row["status"], row["limit"]) == (3, "fail", "≤ 3 mm")
    assert row["sentence"].startswith("Bladder: mean surface distance")
    assert gate_row(said, "dice.v1", "Bladder")["status"] == "fail"
    assert gate_row(said, "msd.v1", "Kidney_L")["status"] == "pass"
    assert "[gate.failed]" in said.err
    assert (tmp_path / "a" / "metrics.json").exists()
    record = json.loads((tmp_path / "a" / "run.json").read_text())
    assert (record["status"], record["code"], record["gate"]["status"]) == ("failed", "gate.failed", "fail")
    assert_coloured(jrs, tmp_path / "a", "fail", "Bladder: mean surface distance")


def test_missing_roi_fails(jrs, pair, tmp_path):
    said = jrs("evaluate", *pair(Bladder=None), "-o", tmp_path / "a", "--strict", "--json")
    row = gate_row(said, "contour.v1", "Bladder")
    assert (said.code, row["status"], row["sentence"]) == (3, "fail", "Bladder: missing in the prediction")
    assert_coloured(jrs, tmp_path / "a", "fail", "Bladder: missing in the prediction")


def test_swapped_pair_fails(jrs, pair, tmp_path):
    left, right = ORGANS[2][1:], ORGANS[3][1:]
    said = jrs("evaluate", *pair(Kidney_L=right, Kidney_R=left), "-o", tmp_path / "a", "--gate", "fail", "--json")
    row = gate_row(said, "contour.v1", "Kidney_L")
    assert (said.code, row["status"]) == (3, "fail")
    assert "left and right are exchanged" in row["sentence"]
    assert_coloured(jrs, tmp_path / "a", "fail", "Kidney_L: it lies on the side of its partner: left and right are exchanged")


def test_structure_that_is_cut_off_has_to_be_looked_at(jrs, pair, tmp_path):
    cut = ((14, 14, 6), (26, 24, 11))
    said = jrs("evaluate", *pair(Bladder=cut), "-o", tmp_path / "a", "--gate", "fail", "--json")
    row = gate_row(said, "contour.v1", "Bladder")
    assert (said.code, row["status"]) == (0, "review")
    assert "ends slices before the reference does" in row["sentence"]
    assert "warning: gate: " in said.err
    assert_coloured(jrs, tmp_path / "a", "review", "Bladder: it ends slices before the reference does")


def test_folded_field_fails(jrs, pair, tmp_path):
    u = np.zeros((*GRID.shape, 3), np.float32)
    u[18:22, 18:21, 9:12, 0] = np.array([9, 3, -3, -9], np.float32)[:, None, None]
    write_transform(Transform((DisplacementField(u, GRID),)), tmp_path / "fold.h5")
    said = jrs("evaluate", *pair(), "--field", tmp_path / "fold.h5", "-o", tmp_path / "a", "--gate", "fail", "--json")
    row = gate_row(said, "neg_jac.v1", "Bladder")
    assert (said.code, row["status"]) == (3, "fail")
    assert row["sentence"].startswith("the field folds in Bladder")
    assert gate_row(said, "neg_jac.v1", "Kidney_L")["status"] == "pass"
    assert_coloured(jrs, tmp_path / "a", "fail", "the field folds in Bladder")


def test_failed_gate_is_a_warning_unless_asked(jrs, pair, tmp_path):
    said = jrs("evaluate", *pair(Bladder=SHIFTED), "-o", tmp_path / "a")
    assert said.code == 0
    assert "warning: gate: 2 of 9 checks fail [gate.fail]" in said.err
    assert "Bladder" not in said.err  # names of structures stay in the tables
    assert jrs("evaluate", *pair(Bladder=SHIFTED), "-o", tmp_path / "b", "--gate", "off").err == ""


def test_rule_of_the_user(jrs, pair, tmp_path):
    files = pair(Bladder=((15, 14, 6), (27, 24, 14)))
    said = jrs("evaluate", *files, "-o", tmp_path / "a", "--gate", "fail", "--gate-rule", "msd.Bladder<=0.1", "--json")
    assert said.code == 3
    assert json.loads(said.out)["gate"]["rows"][-1]["source"] == "--gate-rule"
    jrs("evaluate", *files, "-o", tmp_path / "b", "--gate-rule", "msd.Blader<=3").failed_with(2, "gate.structure")
    jrs("evaluate", *files, "-o", tmp_path / "b", "--gate-rule", "msd<=3").failed_with(2, "gate.rule")
    assert not (tmp_path / "b").exists()


def test_tolerances_of_a_site(jrs, pair, tmp_path):
    (tmp_path / "site.yaml").write_text(
        "organs:\n  Bladder: {uncertainty_mm: 19, source: our readers}\nlimits: {dice_review: 0.1}\n"
    )
    said = jrs("evaluate", *pair(Bladder=SHIFTED), "-o", tmp_path / "a", "--tolerances", tmp_path / "site.yaml", "--json")
    row = gate_row(said, "msd.v1", "Bladder")
    assert (row["status"], row["source"]) == ("pass", "our readers")
    assert len(json.loads(said.out)["gate"]["tolerances"]["sha256"]) == 64
    strict = jrs("evaluate", *pair(), "-o", tmp_path / "b", "--tolerances", "srs", "--json")
    assert gate_row(strict, "msd.v1", "Bladder")["limit"] == "≤ 1 mm"
    for text, code in (("organs: [", "tolerances.yaml"), ("organ: {}", "tolerances.key"), ("\x00", "tolerances.yaml")):
        (tmp_path / "bad.yaml").write_text(text)
        jrs("evaluate", *pair(), "--tolerances", tmp_path / "bad.yaml").failed_with(2, code)


def test_several_tests_and_a_reader_stand_side_by_side(jrs, pair, tmp_path):
    truth, found = pair(Bladder=((15, 14, 6), (27, 24, 14)))
    write_labels(organs(Bladder=((16, 14, 6), (28, 24, 14))), tmp_path / "worse.nii.gz")
    said = jrs("evaluate", truth, found, tmp_path / "worse.nii.gz", "--reader", found, "-o", tmp_path / "a")
    header = next(line for line in said.out.splitlines() if line.startswith("name"))
    assert header.split() == ["name", "metric", "test", "1", "test", "2", "reader"]
    assert any(line.startswith("test 2 − test 1") and "msd.v1" in line for line in said.out.splitlines())
    document = json.loads((tmp_path / "a" / "metrics.json").read_text())
    difference = next(d for d in document["paired_differences"] if (d["label"], d["id"]) == ("test 2", "msd.v1"))
    ours = [row["metrics"]["msd.v1"]["value"] for row in document["structures"]]
    theirs = [row["metrics"]["msd.v1"]["value"] for row in document["tests"]["test 2"]["structures"]]
    assert difference["mean"] == pytest.approx(np.mean(np.array(theirs) - ours))
    assert difference["n"] == 3
    assert (tmp_path / "a" / "metrics.csv").read_text().startswith("test,name,")


def test_what_readers_differ_by_is_the_tolerance(jrs, pair, tmp_path):
    truth, found = pair(Bladder=SHIFTED)
    said = jrs("evaluate", truth, found, "--reader", found, "-o", tmp_path / "a", "--json")
    row = gate_row(said, "msd.v1", "Bladder")
    assert (row["status"], row["source"]) == ("pass", "the two readers of this case")


def test_folders_are_compared_case_by_case(jrs, tmp_path):
    for folder, places in (("truth", [None, None, None]), ("found", [None, SHIFTED, ((15, 14, 6), (27, 24, 14))])):
        (tmp_path / folder).mkdir()
        for number, place in enumerate(places):
            write_labels(organs(**({"Bladder": place} if place else {})), tmp_path / folder / f"case{number}.nii.gz")
    said = jrs("evaluate", tmp_path / "truth", tmp_path / "found", "-o", tmp_path / "a")
    document = json.loads((tmp_path / "a" / "metrics.json").read_text())
    assert document["cases"] == 3
    assert len(document["structures"]) == 9
    assert document["summary"]["dice.v1"]["worst"] == "case1, Bladder"
    assert document["summary_by_structure"]["Bladder"]["dice.v1"]["n"] == 3
    assert len(document["summary"]["dice.v1"]["ci95"]) == 2
    assert any(line.startswith("case1, Bladder") for line in said.out.splitlines())
    (tmp_path / "found" / "case1.nii.gz").unlink()
    jrs("evaluate", tmp_path / "truth", tmp_path / "found").failed_with(4, "evaluate.cases")


def landmark_files(tmp_path, shift=(3.0, 0.0, 4.0)):
    points = np.random.default_rng(0).uniform(10, 50, (8, 3))
    for name, there in (("fixed", points), ("moving", points + shift)):
        lines = [",".join(f"{x:.4f}" for x in point) for point in there]
        (tmp_path / f"{name}.csv").write_text("x_lps_mm,y_lps_mm,z_lps_mm\n" + "\n".join(lines) + "\n")
    there = AffineTransform.about(np.eye(3), np.zeros(3), np.array(shift))
    write_transform(Transform((there,)), tmp_path / "there.h5")
    write_transform(Transform((there.inverse(),)), tmp_path / "back.h5")
    return tmp_path / "fixed.csv", tmp_path / "moving.csv"


def test_landmarks_with_the_transform_and_its_inverse(jrs, tmp_path):
    fixed, moving = landmark_files(tmp_path)
    write_image(Volume(np.zeros(GRID.shape, np.int16), GRID), tmp_path / "image.nii.gz")
    words = ("--landmarks", fixed, moving, "--field", tmp_path / "there.h5", "--reference", tmp_path / "image.nii.gz")
    said = jrs("evaluate", *words, "--inverse-field", tmp_path / "back.h5", "-o", tmp_path / "a", "--json", "--gate", "fail")
    assert said.code == 0
    document = json.loads(said.out)
    jsonschema.validate(document, SCHEMA)
    assert document["tre.v1(mean)"]["value"] == pytest.approx(0, abs=1e-3)
    assert gate_row(said, "tre.v1(mean)", "")["status"] == "pass"
    assert gate_row(said, "inverse_consistency.v1(p95)", "")["status"] == "pass"
    wrong = jrs("evaluate", fixed, moving, "--field", tmp_path / "back.h5", "-o", tmp_path / "b", "--gate", "fail")
    assert wrong.code == 3
    assert "tre.v1" in wrong.out
    assert "nothing to evaluate" in jrs("evaluate").failed_with(2, "usage.missing").err


def test_transform_of_the_other_direction_is_refused(jrs, tmp_path):
    small = Geometry((30, 30, 18), np.diag((2.0, 2.0, 3.0, 1.0)))
    there = AffineTransform.about(np.eye(3), np.zeros(3), np.array((3.0, 0.0, 4.0)))
    write_transform(Transform((there,)), tmp_path / "there.h5", Sidecar("moving_to_fixed", GRID, small, inverse="back.h5"))
    write_transform(Transform((there.inverse(),)), tmp_path / "back.h5", Sidecar("fixed_to_moving", GRID, small))
    write_image(Volume(np.zeros(GRID.shape, np.int16), GRID), tmp_path / "image.nii.gz")
    words = ("evaluate", "--reference", tmp_path / "image.nii.gz", "-o", tmp_path / "a", "--field")
    jrs(*words, tmp_path / "back.h5").failed_with(4, "field.direction")
    assert jrs(*words, tmp_path / "there.h5").code == 0


def test_dose_in_both_contours(jrs, pair, tmp_path):
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32)[:, None, None], GRID.shape)
    write_image(Volume(np.ascontiguousarray(ramp), GRID), tmp_path / "dose.nii.gz")
    files = pair(Bladder=((15, 14, 6), (27, 24, 14)))
    said = jrs("evaluate", *files, "--dose", tmp_path / "dose.nii.gz", "--dose-level", 20, "-o", tmp_path / "a", "--json")
    document = json.loads(said.out)
    jsonschema.validate(document, SCHEMA)
    bladder = next(row for row in document["dose"]["rows"] if row["name"] == "Bladder")["metrics"]
    assert bladder["dvh.v1(Dmean difference)"]["value"] == pytest.approx(1.0)
    # voxels of 1 Gy from 13.5 to 25.5 Gy
    assert bladder["dvh.v1(V20Gy reference)"]["value"] == pytest.approx(100 * 5.5 / 12, abs=0.1)


@pytest.fixture
def dicom(tmp_path):
    """A CT folder with two structure sets beside it, as DICOM."""
    image = Volume(np.random.default_rng(0).integers(-100, 100, GRID.shape).astype(np.int16), GRID)
    header = write_series(image, tmp_path / "study" / "ct", seed="evaluate")
    for name, labels in (("RS1", organs()), ("RS2", organs(Bladder=((15, 14, 6), (27, 24, 14))))):
        write_rtstruct(structures_of_labels(labels), header, GRID, tmp_path / "study" / f"{name}.dcm", seed=name)
    return tmp_path / "study"


def test_rtstructs_are_compared_on_the_series_beside_them(jrs, dicom, tmp_path):
    said = jrs("evaluate", dicom / "RS1.dcm", dicom / "RS2.dcm", "-o", tmp_path / "a", "--json")
    document = json.loads(said.out)
    jsonschema.validate(document, SCHEMA)
    assert document["shape"] == list(GRID.shape)
    assert next(row for row in document["structures"] if row["name"] == "Kidney_L")["metrics"]["dice.v1"]["value"] == 1.0


def test_rtstructs_without_their_series_need_a_reference(jrs, dicom, tmp_path):
    (tmp_path / "alone").mkdir()
    for name in ("RS1.dcm", "RS2.dcm"):
        (dicom / name).rename(tmp_path / "alone" / name)
    (dicom / "ct").rename(tmp_path / "elsewhere-ct")
    deep = tmp_path / "deep" / "er"
    deep.mkdir(parents=True)
    (tmp_path / "alone").rename(deep / "alone")
    files = (deep / "alone" / "RS1.dcm", deep / "alone" / "RS2.dcm")
    jrs("evaluate", *files).failed_with(2, "evaluate.grid")
    assert jrs("evaluate", *files, "--reference", tmp_path / "elsewhere-ct", "-o", tmp_path / "a").code == 0


def test_json_keeps_to_its_schema(jrs, pair, tmp_path):
    files = pair(Bladder=None, Kidney_L=((29, 6, 5), (37, 14, 12)))
    document = json.loads(jrs("evaluate", *files, files[1], "-o", tmp_path / "a", "--metrics", "all", "--l2r", "--json").out)
    jsonschema.validate(document, SCHEMA)
    assert json.loads((tmp_path / "a" / "metrics.json").read_text())["gate"] == document["gate"]
    broken = {**document, "structures": [{**document["structures"][0], "metrics": {"HD95": 3}}]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA)


def test_table_fits_a_terminal_of_100_columns(pair, tmp_path):
    files = pair(Bladder=SHIFTED)
    code = "import sys; from jrscli.cli import app; sys.exit(app(sys.argv[1:]))"
    here, there = pty.openpty()
    words = [
        sys.executable,
        "-c",
        code,
        "evaluate",
        *map(str, files),
        "-o",
        str(tmp_path / "a"),
        "--metrics",
        "all",
        "--no-report",
    ]
    env = {**os.environ, "COLUMNS": "100", "LINES": "40", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.Popen(words, stdout=there, stderr=subprocess.DEVNULL, env=env)
    os.close(there)
    text = b""
    while True:
        try:
            part = os.read(here, 4096)
        except OSError:  # the other end was closed
            break
        if not part:
            break
        text += part
    assert done.wait() == 0
    lines = [line for line in text.decode().splitlines() if "\t" not in line]
    assert max(map(len, lines)) <= 100
    rows = [line.split() for line in lines if line.startswith(("Bladder", "Kidney_L", "Kidney_R", "mean "))]
    blocks = [rows[n : n + 4] for n in range(0, 8, 4)]
    for block in blocks:  # the same number of cells in each row: nothing is broken or cut
        assert len({len(row) for row in block}) == 1
        assert [row[0] for row in block] == ["Bladder", "Kidney_L", "Kidney_R", "mean"]


def test_names_of_strangers_cannot_write_to_the_terminal(jrs, tmp_path):
    labels = LabelMap(organs().array, GRID, {1: "Bla\x1b[31mdder", 2: "Kidney_L", 3: "Kidney_R"})
    write_labels(labels, tmp_path / "a.nii.gz")
    said = jrs("evaluate", tmp_path / "a.nii.gz", tmp_path / "a.nii.gz", "-o", tmp_path / "out")
    assert "\x1b" not in said.out
    assert "Bla?[31mdder" in said.out


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (("--inverse-field", "x.h5"), "usage.combination", 2),
        (("--dose", "a", "--dose", "b", "--dose", "c"), "usage.combination", 2),
        (("--reader", "a", "--reader", "b"), "usage.combination", 2),
        (("--metrics", "dise"), "metric.unknown", 2),
        (("--nsd-tolerance", "-1"), "evaluate.tolerance", 2),
        (("--field", "nothing.h5"), "input.missing", 4),
        (("--tolerances", "nothing.yaml"), "input.missing", 4),
    ],
)
def test_what_cannot_be_done_is_told(jrs, pair, words, code, exit_code):
    jrs("evaluate", *pair(), *words).failed_with(exit_code, code)


def test_reference_without_prediction_is_told(jrs, pair):
    jrs("evaluate", pair()[0]).failed_with(2, "usage.missing")


def identifying_values(folder):
    """What the DICOM files say of the patient: names, numbers, dates, UIDs of four characters or more."""
    import pydicom

    found = set()
    for path in folder.rglob("*"):
        if path.is_file():
            for element in pydicom.dcmread(path, stop_before_pixels=True).iterall():
                if element.VR in ("PN", "UI", "DA", "TM", "DT") or element.keyword in (
                    "PatientID",
                    "StudyID",
                    "AccessionNumber",
                ):
                    values = element.value if element.VM > 1 else [element.value]
                    found |= {str(value) for value in values if len(str(value)) >= 4}
    standard = {value for value in found if value.startswith("1.2.840.10008.")}
    return found - standard


def test_nothing_written_or_said_identifies_the_patient(dicom, tmp_path, capsys):
    import pydicom

    from jrscli.cli import app

    for path in dicom.rglob("*"):
        if path.is_file():
            dataset = pydicom.dcmread(path)
            dataset.PatientName, dataset.PatientID = "Sommerfeldt^Annegret", "QZ-887341"
            dataset.PatientBirthDate, dataset.AccessionNumber, dataset.StudyID = "19470311", "ACC55120", "STU7781"
            dataset.save_as(path)
    secret = identifying_values(dicom)
    assert {"Sommerfeldt^Annegret", "QZ-887341", "19470311", "ACC55120"} <= secret
    code = app(["evaluate", str(dicom / "RS1.dcm"), str(dicom / "RS2.dcm"), "-o", str(tmp_path / "out"), "-v"])
    assert code == 0
    said = "".join(capsys.readouterr())
    files = {path.name: path.read_bytes().decode("utf-8", "replace") for path in (tmp_path / "out").iterdir()}
    assert {"report.html", "run.json", "metrics.json", "metrics.csv", "metrics.md"} <= set(files)
    # base64 is random text: short digits may occur in it by chance
    bare = {name: re.sub(r"[A-Za-z0-9+/=]{200,}", "", text) for name, text in files.items()}
    for value in secret | {"Sommerfeldt", "Annegret"}:
        # as a word of its own: a time of 000000 is not meant by the digits of 0.0000001
        word = re.compile(rf"(?<![\w.]){re.escape(value)}(?!\w)")
        assert not [name for name, text in bare.items() if word.search(text)], value
        assert not word.search(said)
