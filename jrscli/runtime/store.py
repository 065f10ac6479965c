"""Where models lie: bundled with the package, in the user's folder, or at a path. Nothing is ever fetched."""

from __future__ import annotations

import difflib
import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from jrscli.errors import ModelError
from jrscli.runtime.card import Card
from jrscli.runtime.external_data import check_external_data

Origin = Literal["bundled", "user", "path"]
MODELS_VARIABLE = "JRS_MODELS"


@dataclass(frozen=True)
class Model:
    """A card and the folder of its graphs. sha256: of the card, which holds those of the graphs: it names the whole model."""

    card: Card
    folder: Path
    sha256: str
    origin: Origin

    @property
    def title(self) -> str:
        """Name and version, as it is printed: ``hippocampus-jrs@1.0.0``."""
        return f"{self.card.name}@{self.card.version}"

    @property
    def path(self) -> Path:
        """The card's file."""
        return self.folder / f"{self.card.name}.yaml"

    def graph_file(self, name: str) -> tuple[bytes, Path | None]:
        """The bytes of a graph after all checks, and its path where it reads further files that the card allows (else None).

        Raises ModelError `model.missing`, `model.sha256`, `model.external_data`, `model.graph`.
        """
        graph = self.card.graphs[name]
        data = self._checked(graph.file, graph.sha256)
        outside = check_external_data(data, graph, self.title)
        for file in outside:
            self._checked(file, graph.external_data[file])
        return data, self.folder / graph.file if outside else None

    def file(self, role: str) -> Path:
        """The template file of a role, its hash checked."""
        entry = self.card.template[role]
        self._checked(entry.file, entry.sha256)
        return self.folder / entry.file

    def check_files(self) -> None:
        """Check every file that the card names.

        Raises what `graph_file` raises.
        """
        for name in self.card.graphs:
            self.graph_file(name)
        for role in self.card.template:
            self.file(role)

    def files(self) -> Iterator[str]:
        """The names of every file the card names, the card first."""
        yield self.path.name
        for graph in self.card.graphs.values():
            yield graph.file
            yield from graph.external_data
        for entry in self.card.template.values():
            yield entry.file

    def _checked(self, name: str, sha256: str) -> bytes:
        path = self.folder / name
        hint = f"get the model again and import it: jrs models import {self.card.name}.zip"
        if path.is_symlink() and not path.resolve().is_relative_to(self.folder.resolve()):
            raise ModelError(
                f"{name} of the model {self.title} is a link that leaves the model's folder",
                code="model.external_data",
                hint=hint,
            )
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(
                f"{name} of the model {self.title} cannot be read: {error.strerror}", code="model.missing", hint=hint
            ) from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ModelError(
                f"{name} is not the file that the card of {self.title} names (another sha256): truncated or altered",
                code="model.sha256",
                hint=hint,
            )
        return data


def read_model(path: Path, origin: Origin = "path") -> Model:
    """The model whose card lies at ``path``.

    Raises ModelError `card.unreadable`, `card.invalid`, `card.name`.
    """
    card = _card_of(path)
    if path.name != f"{card.name}.yaml":
        raise ModelError(
            f"the card {path.name} is of the model {card.name}", code="card.name", hint=f"name the file {card.name}.yaml"
        )
    return Model(card, path.parent, hashlib.sha256(path.read_bytes()).hexdigest(), origin)


def _card_of(path: Path) -> Card:
    """The card at ``path``, parsed once as long as the file stays as it was."""
    try:
        about = path.stat()
    except OSError:
        return Card.read(path)
    return _parsed(path, about.st_ino, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=64)
def _parsed(path: Path, inode: int, size: int, changed: int) -> Card:
    return Card.read(path)


def find_model(name: str | Path) -> Model:
    """The model of this name (the user's folder wins over the bundled ones), or of the card at this path.

    Raises ModelError `model.unknown` and what `read_model` raises.
    """
    text = str(name)
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or os.sep in text:
        return read_model(path)
    for origin, card in _cards():
        if card.stem == text:
            return read_model(card, origin)
    known = [card.stem for _, card in _cards() if _is_card(card)]
    near = difflib.get_close_matches(text, known, 3, 0.6)
    hint = (f"did you mean {' or '.join(near)}? " if near else "") + "see: jrs models list"
    raise ModelError(f"no model named '{text}'", code="model.unknown", hint=hint)


def all_models() -> tuple[list[Model], list[ModelError]]:
    """Every model at hand, by name, and what is wrong with the cards that cannot be used."""
    found: dict[str, Model] = {}
    broken: list[ModelError] = []
    for origin, path in _cards():
        if path.stem in found or not _is_card(path):
            continue
        try:
            found[path.stem] = read_model(path, origin)
        except ModelError as error:
            broken.append(error)
    return [found[name] for name in sorted(found)], broken


def card_files() -> list[Path]:
    """The files of all cards at hand, unread."""
    return [path for _, path in _cards() if _is_card(path)]


def user_folder() -> Path:
    """Where imported models go: $JRS_MODELS, else the account's data folder."""
    chosen = os.environ.get(MODELS_VARIABLE, "")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "jrscli" / "models"
    data = os.environ.get("XDG_DATA_HOME", "")
    return (Path(data) if data else Path.home() / ".local" / "share") / "jrscli" / "models"


def bundled_folder() -> Path:
    """Where the models of the package lie: inside it, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "models"
    return inside if inside.is_dir() or not (package.parent / "pyproject.toml").is_file() else package.parent / "models"


def _cards() -> Iterator[tuple[Origin, Path]]:
    for origin, folder in (("user", user_folder()), ("bundled", bundled_folder())):
        for pattern in ("*.yaml", "*/*.yaml"):
            for path in sorted(folder.glob(pattern)):
                if not path.parent.name.startswith("."):
                    yield ("user" if origin == "user" else "bundled"), path


def _is_card(path: Path) -> bool:
    """Whether a YAML file means to be a card (settings of a training may lie beside it)."""
    try:
        return b"\ngraphs:" in path.read_bytes()
    except OSError:
        return False
