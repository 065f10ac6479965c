"""Write models/README.md from the cards beside it: ``python docs/make_models.py``."""

from __future__ import annotations

from pathlib import Path

from jrscli.runtime.card import Card
from jrscli.runtime.store import bundled_folder, read_model

PAGE = bundled_folder() / "README.md"
HEAD = """# Models

The models that come with jrscli: one card `NAME.yaml` each, beside its graphs `NAME-GRAPH.onnx`. Research use, not a medical
device. `jrs models info NAME` says all that a card holds, `jrs models verify` checks files and golden runs. This page is made
by `python docs/make_models.py`; a test compares it with the cards.

| model | method | does | images | licence | registration Dice | segmentation Dice | trained on |
|---|---|---|---|---|---|---|---|
"""


def row(card: Card) -> str:
    """One line of the table."""
    does = [word for word, can in (("register", card.registers), ("segment", card.segments)) if can]
    cells = [
        f"{card.name} {card.version}",
        card.method,
        ", ".join(does),
        ", ".join(card.modalities) or "any",
        card.licence,
        _dice(card, "registration"),
        _dice(card, "segmentation"),
        f"{card.trained.data} ({card.trained.licence})" if card.trained else "",
    ]
    return "| " + " | ".join(cells) + " |\n"


def _dice(card: Card, task: str) -> str:
    found = []
    for name, scores in card.scores.items():
        part = scores.registration if task == "registration" else scores.segmentation
        if part is not None and "dice" in part.values:
            found.append(f"{part.values['dice']:.3f} ({name}, {scores.split}, n = {part.n})")
    return "; ".join(found)


def page(folder: Path = PAGE.parent) -> str:
    """The whole page."""
    cards = (path for path in sorted(folder.glob("*.yaml")) if b"\ngraphs:" in path.read_bytes())
    return HEAD + "".join(row(read_model(path).card) for path in cards)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
