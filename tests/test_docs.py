"""README and docs say what is so: help texts, commands, exit codes, links, examples, pins."""

from __future__ import annotations

import dataclasses
import re
import runpy
import shlex
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest

from jrscli.errors import ExitCode

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE))


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def shown_commands() -> list[tuple[str, str]]:
    """(page, command line) of every jrs call that a reader is told to type."""
    found = []
    for page in PAGES:
        for block in blocks(page, "console"):
            lines = block.replace("\\\n", " ").splitlines()
            found += [(page.name, line[2:]) for line in lines if line.startswith("$ ") and "jrs " in line.split("  ")[0]]
    return [(page, line) for page, line in found if Path(line.split()[0]).name == "jrs"]


def unknown_words(line: str) -> list[str]:
    """What the command tree does not know of a command line."""
    from jrscli.cli.main import command

    found, words = command(), shlex.split(line)[1:]
    while hasattr(found, "commands"):
        if not words or words[0] not in found.commands:
            return words[:1] or ["(no command)"]
        found = found.commands[words.pop(0)]
    known = {option for parameter in found.params for option in parameter.opts} | {"--help"}
    return [word for word in words if word.startswith("-") and word not in known]


def test_page_of_methods_is_made_from_cards_and_logs():
    script = runpy.run_path(str(ROOT / "docs" / "make_methods.py"))
    written = (ROOT / "docs" / "methods" / "README.md").read_text("utf-8")
    assert written == script["page"](), "run: python docs/make_methods.py"


def test_the_page_of_commands_is_what_help_prints():
    script = runpy.run_path(str(ROOT / "docs" / "make_commands.py"))
    written = script["PAGE"].read_text("utf-8")
    assert written == script["page"](), "run: python docs/make_commands.py"


def test_every_command_shown_can_be_typed():
    shown = shown_commands()
    assert len(shown) > 15
    wrong = [(page, line, unknown_words(line)) for page, line in shown if unknown_words(line)]
    assert not wrong


@pytest.mark.parametrize(
    ("line", "unknown"), [("jrs registr a b", ["registr"]), ("jrs info x --tre", ["--tre"]), ("jrs info x", [])]
)
def test_a_wrong_command_would_be_found(line, unknown):
    assert unknown_words(line) == unknown


def test_every_command_is_in_the_readme():
    from jrscli.cli.main import command

    text = (ROOT / "README.md").read_text("utf-8")
    assert [name for name in command().commands if f"`jrs {name}" not in text] == []


def test_the_page_of_exit_codes_lists_them_all():
    rows = re.findall(r"^\| (\d+) \|", (ROOT / "docs/reference/exit-codes.md").read_text("utf-8"), re.MULTILINE)
    assert [int(row) for row in rows] == [int(code) for code in ExitCode]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)  # code is full of brackets
    links = re.findall(r"\]\(([^)#]+)", text)
    assert [link for link in links if not link.startswith("https://") and not (page.parent / link).exists()] == []


def test_the_readme_says_what_it_must():
    text = (ROOT / "README.md").read_text("utf-8")
    assert "Research use, not a medical device" in text
    install, tests = blocks(ROOT / "README.md", "sh")
    assert "-c constraints.txt" in install
    assert install.rstrip().endswith("jrs demo")
    assert "-m pytest" in tests


def test_every_direct_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    pinned = {re.sub(r"[-_.]+", "-", name.lower()) for name in PINS}
    missing = [one for one in named if re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", one)[0].lower()) not in pinned]
    assert missing == []


def test_the_torch_that_the_docs_name_is_the_pinned_one():
    named = {version for page in PAGES for version in re.findall(r"torch==([\d.]+\d)", page.read_text("utf-8"))}
    assert named == {PINS["torch"]}


def test_torch_has_no_upper_bound():
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    assert [one for one in dependencies if one.startswith("torch") and re.search(r"<|==|~=", one)] == []


def test_the_example_of_the_conventions_runs():
    (example,) = blocks(ROOT / "docs/reference/conventions.md", "python")
    names: dict[str, object] = {}
    exec(example, names)
    for line in example.splitlines():
        code, _, said = line.partition("# ")
        if said.startswith("array"):
            assert np.allclose(eval(code, names), eval(said, {"array": np.array}))


def test_the_python_example_of_the_readme_runs(tmp_path, monkeypatch):
    data = ROOT / "tests/data/hippocampus"
    for name, image in zip(("fixed", "moving"), sorted((data / "images").iterdir()), strict=False):
        shutil.copy(image, tmp_path / f"{name}.nii.gz")
        shutil.copy(data / "labels" / image.name, tmp_path / f"{name}-labels.nii.gz")
    (example,) = blocks(ROOT / "README.md", "python")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(example, names)
    assert (tmp_path / "warped.nii.gz").exists()
    assert names["evaluation"].mean("dice.v1") > 0.6


def test_a_transform_means_the_same_in_simpleitk(oblique, blob, tmp_path, monkeypatch):
    """The example of the page of transforms, run on files, gives what jrs gives."""
    from jrscli.io import write_image
    from jrscli.io.transforms import write_transform
    from jrscli.spatial.affine import AffineTransform
    from jrscli.spatial.displacement import DisplacementField
    from jrscli.spatial.itk import array_from_image
    from jrscli.spatial.resample import resample
    from jrscli.spatial.transform import Transform

    wave = np.sin(np.indices((*oblique.shape, 3)).sum(axis=0) / 4.0)
    turn = AffineTransform.about(
        np.array([[0.98, -0.199, 0], [0.199, 0.98, 0], [0, 0, 1]]), oblique.centre_mm, np.array([1.0, 2, 3])
    )
    chain = Transform((DisplacementField(wave, oblique), turn))
    folder = tmp_path / "jrs-out" / "fixed"
    folder.mkdir(parents=True)
    write_image(blob(oblique), tmp_path / "fixed.nii.gz")
    write_image(blob(oblique), tmp_path / "moving.nii.gz")
    write_transform(chain, folder / "from-moving_to-fixed_mode-image_xfm.h5")
    (example,) = blocks(ROOT / "docs/reference/transforms.md", "python")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(example, names)
    expected = resample(blob(oblique), oblique, chain).array
    assert np.abs(expected - blob(oblique).array).max() > 50
    assert np.abs(array_from_image(names["warped"]) - expected).max() < 0.1


def test_the_ways_of_training_that_are_compared_can_be_trained():
    """Recipes, configs and settings of docs/methods/together.yaml exist, and every kept log is of one of them."""
    import yaml

    from jrscli import methods
    from jrscli.training.run import method_named
    from jrscli.training.settings import parse_settings

    listed = yaml.safe_load((ROOT / "docs" / "methods" / "together.yaml").read_text("utf-8"))
    assert set(listed) <= set(methods.names())
    names = set()
    for method, one in listed.items():
        known = {field.name for field in dataclasses.fields(method_named(method).Config)}
        assert all((ROOT / "configs" / f"{one[key]}.yaml").is_file() for key in ("data", "config"))
        for way, what in one["ways"].items():
            assert set(parse_settings(what.get("set", []))["config"]) <= known, (method, way)
            names.add(f"{method}-{way.replace(' ', '-')}")
    kept = {path.stem.rpartition("-")[0] for path in (ROOT / "docs" / "methods" / "runs").iterdir()}
    assert kept <= names


def test_a_row_of_the_page_is_the_mean_of_the_last_validations(tmp_path):
    script = runpy.run_path(str(ROOT / "docs" / "make_methods.py"))
    logs = []
    for seed, last in enumerate((0.5, 0.7)):
        log = tmp_path / f"{seed}.csv"
        log.write_text(f"stage,round,what,name,value\na,1,validation,registration,0.1\na,2,validation,registration,{last}\n")
        logs.append(log)
    assert script["_over_seeds"](logs, "registration") == "0.600 ± 0.141"
    assert script["_over_seeds"](logs[:1], "registration") == "0.500"
    assert script["_over_seeds"](logs, "segmentation") == "n/a"
