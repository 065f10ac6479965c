"""A table as lines of text that never break: names are cut and columns go to a second block before a line gets too long."""

from __future__ import annotations

from collections.abc import Sequence

GAP = 2
SHORTEST_NAME = 12
HEADER_WIDTH = 10


def as_text(header: Sequence[str], lines: Sequence[Sequence[str]], width: int | None = None) -> str:
    """The table with its first column to the left and the others to the right, at most ``width`` characters wide.

    With a width, headers of more than ten characters are broken at brackets, underscores and spaces, and what the last column
    holds, if it is called "remarks", goes below the table. Without one every row is one line, as other programs like it.
    """
    header, rows = list(header), [list(line) for line in lines]
    remarks: list[str] = []
    if width is not None and header and header[-1] == "remarks":
        header = header[:-1]
        for row in rows:
            if row[-1]:
                remarks.append(f"{row[0]}: {row[-1]}")
            del row[-1]
    heads = [_broken(cell) if width is not None else [cell] for cell in header]
    widths = [max([*(len(part) for part in heads[n]), *(len(row[n]) for row in rows)], default=0) for n in range(len(header))]
    if width is not None:
        others = sum(GAP + w for w in widths[1:])
        widths[0] = min(widths[0], max(SHORTEST_NAME, width - others))
    blocks = [_block(heads, rows, widths, part) for part in _split(widths, width)]
    notes = [_clipped(note, width) for note in remarks]
    return "\n\n".join(blocks) + ("\n\n" + "\n".join(notes) if notes else "")


def _split(widths: list[int], width: int | None) -> list[list[int]]:
    """Which columns stand in which block; the first stands in each."""
    blocks, used = [[0]], widths[0]
    for n in range(1, len(widths)):
        if width is not None and used + GAP + widths[n] > width and len(blocks[-1]) > 1:
            blocks.append([0])
            used = widths[0]
        blocks[-1].append(n)
        used += GAP + widths[n]
    return blocks


def _block(heads: list[list[str]], rows: list[list[str]], widths: list[int], part: list[int]) -> str:
    tall = max(len(heads[n]) for n in part)
    top = [[heads[n][k] if k < len(heads[n]) else "" for n in part] for k in range(tall)]
    body = [[row[n] for n in part] for row in rows]
    return "\n".join(_line(cells, [widths[n] for n in part]) for cells in [*top, *body])


def _line(cells: list[str], widths: list[int]) -> str:
    first = _clipped(cells[0], widths[0]).ljust(widths[0])
    return (first + "".join(" " * GAP + cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))).rstrip()


def _clipped(text: str, width: int | None) -> str:
    return text if width is None or len(text) <= width else text[: max(width - 1, 1)] + "…"


def _broken(title: str) -> list[str]:
    """A title in lines of about ten characters."""
    words = title.replace("(", " (").replace("_", "_ ").split()
    lines: list[str] = []
    for word in words:
        joined = lines[-1] + ("" if lines[-1].endswith("_") else " ") + word if lines else word
        if lines and len(joined) <= HEADER_WIDTH and not word.startswith("("):
            lines[-1] = joined
        else:
            lines.append(word)
    return lines or [""]
