"""Taking a model into the user's folder, and out of it again."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from jrscli.errors import ModelError, WriteError
from jrscli.runtime.card import LARGEST_CARD
from jrscli.runtime.card_graph import FILE
from jrscli.runtime.store import Model, find_model, read_model, user_folder

LARGEST_MODEL = 4 * 1024**3
_HINT = "give a card NAME.yaml with its graphs beside it, or a zip of them"


def import_model(source: Path, *, overwrite: bool = False) -> Model:
    """The model as it now lies in the user's folder, all its files checked and all its graphs having passed their golden run.

    source: a card with its files beside it, or a zip of them. Nothing appears where a check fails.

    Raises ModelError `model.archive`, `model.exists`, and what reading, checking and running the model raise.
    """
    from jrscli.runtime.golden import check_golden
    from jrscli.runtime.session import Session

    folder = user_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(
            f"the folder of models cannot be made: {error.strerror}",
            code="output.unwritable",
            hint="set JRS_MODELS to a folder",
        ) from None
    with _unpacked(source) as card_path, tempfile.TemporaryDirectory(prefix=".import-", dir=folder) as scratch:
        found = read_model(card_path)
        home = folder / found.card.name
        if home.exists() and not overwrite:
            raise ModelError(
                f"a model {found.card.name} is there already", code="model.exists", hint="add --overwrite to replace it"
            )
        aside = Path(scratch) / found.card.name
        aside.mkdir()
        found.check_files()
        for name in found.files():
            shutil.copyfile(found.folder / name, aside / name)
        model = read_model(aside / card_path.name, "user")
        for graph in model.card.graphs:
            check_golden(Session(model, graph, "cpu"))
        if home.exists():
            home.replace(Path(scratch) / "old")
        aside.replace(home)
    return read_model(home / card_path.name, "user")


def remove_model(name: str) -> Path:
    """The folder that was removed.

    Raises ModelError `model.unknown`, `model.bundled`.
    """
    model = find_model(name)
    home = user_folder() / model.card.name
    if model.origin != "user" or model.folder != home:
        raise ModelError(
            f"{model.title} is not in your folder of models", code="model.bundled", hint="only imported models can be removed"
        )
    shutil.rmtree(home)
    return home


@contextlib.contextmanager
def _unpacked(source: Path) -> Iterator[Path]:
    """The card's path: as given, or in a folder that a zip was unpacked to for the time being."""
    if not source.exists():
        raise ModelError(f"{source.name} is not there", code="card.unreadable", hint=_HINT)
    if not zipfile.is_zipfile(source):
        if source.suffix not in (".yaml", ".yml"):
            raise ModelError(f"{source.name} is neither a card nor a zip", code="card.unreadable", hint=_HINT)
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="jrs-import-") as scratch:
        _unpack(source, Path(scratch))
        cards = [path for path in Path(scratch).glob("*.yaml") if b"\ngraphs:" in path.read_bytes()]
        if len(cards) != 1:
            raise ModelError(f"the zip holds {len(cards)} cards where one is needed", code="model.archive", hint=_HINT)
        yield cards[0]


def _unpack(source: Path, folder: Path) -> None:
    """The files of a zip, its one folder left out; nothing that leaves the folder, nothing beyond the size of a model."""
    try:
        with zipfile.ZipFile(source) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            parents = {str(PurePosixPath(member.filename).parent) for member in members}
            total = sum(member.file_size for member in members)
            names = [PurePosixPath(member.filename).name for member in members]
            good = len(parents) == 1 and len(PurePosixPath(parents.pop()).parts) <= 1 and len(set(names)) == len(names)
            if not good or not all(FILE.fullmatch(name) for name in names) or total > LARGEST_MODEL:
                raise ModelError("the zip is not laid out as a model", code="model.archive", hint=_HINT)
            for member, name in zip(members, names, strict=True):
                if name.endswith(".yaml") and member.file_size > LARGEST_CARD:
                    raise ModelError(f"{name} is too large for a card", code="model.archive", hint=_HINT)
                with archive.open(member) as packed, (folder / name).open("wb") as file:
                    shutil.copyfileobj(packed, file)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"the zip cannot be unpacked: {error}", code="model.archive", hint=_HINT) from None
