"""The page: what a report says, as one HTML file that needs nothing from outside."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from typing import Any

from jrscli.metrics.evaluation import Row
from jrscli.metrics.gates import GateRow, Verdict

USE = "research use, not a medical device"
FOR_REVIEW = "for review by a qualified person"
MOST_BYTES = 15_000_000
WIDE = 4
"""A voxel so many times longer than wide makes limits in v worth a word."""
# nothing may be loaded, whatever gets into the page; the viewer makes its own blobs
POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline' blob:; "
    "connect-src data: blob:; font-src data:; worker-src blob:; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class Picture:
    """A JPEG with its caption; ``second`` is another picture of the same place, to flicker with."""

    data: bytes
    caption: str
    second: bytes | None = None


@dataclass(frozen=True)
class Card:
    """What there is to say of one structure."""

    row: Row | None
    title: str
    gates: tuple[GateRow, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Page:
    """Everything a report shows, in its order.

    opening: the table that stands before everything else, with its title; None without one.
    inputs: per input role, modality, size, spacing. record: the run's record as it is in run.json. methods: text to copy.
    film: the HTML of a cine's film and curves, "" without one. viewer: the HTML of the viewer, "" without one.
    limits: what the model says of its limits.
    """

    title: str
    verdict: Verdict | None
    version: str
    date: str
    inputs: Sequence[Mapping[str, Any]] = ()
    v_mm: float | None = None
    remarks: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[tuple[str, tuple[list[str], list[list[str]]]]] = ()
    cards: Sequence[Card] = ()
    record: Mapping[str, Any] = field(default_factory=dict)
    methods: str = ""
    film: str = ""
    viewer: str = ""
    limits: str = ""
    opening: tuple[str, tuple[list[str], list[list[str]]]] | None = None


def render(page: Page) -> bytes:
    """The report as UTF-8."""
    css, script = (_asset(name) for name in ("report.css", "report.js"))
    sections = [
        *([_section(page.opening[0], _table(*page.opening[1]), "opening")] if page.opening else []),
        _section("Inputs", _inputs(page), "inputs"),
        _section("Pictures", "".join(_figure(one) for one in page.pictures), "pictures"),
        _section("The frames", page.film, "film"),
        _section("Look through the images", page.viewer, "look", screen=True),
        _section("Checks against tolerances", _gate(page), "checks"),
        *(_section(title, _table(*table), f"table{n}") for n, (title, table) in enumerate(page.tables)),
        _section("Structures", "".join(_card(card) for card in page.cards), "structures"),
        _section("Limits", f"<p>{escape(page.limits)}</p>" if page.limits else "", "limits"),
        _section("Text for a methods section", f"<p>{escape(page.methods)}</p>" if page.methods else "", "methods"),
        _section("Record of the run", _record(page.record), "record"),
    ]
    body = "".join(part for part, _ in sections)
    links = "".join(link for _, link in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(page.title)}</title><style>{css}</style></head>\n<body><main>{_banner(page)}<nav>{links}</nav>{body}"
        f"</main><script>{script}</script></body></html>\n"
    ).encode()


def _banner(page: Page) -> str:
    status = page.verdict.status if page.verdict else "not_assessed"
    reasons = page.verdict.reasons if page.verdict else ()
    shown = "".join(f"<li>{escape(one)}</li>" for one in reasons[:8])
    more = f"<li>… and {len(reasons) - 8} more below</li>" if len(reasons) > 8 else ""
    if status == "not_assessed":
        odd = page.verdict is not None and any(row.status == "pass" for row in page.verdict.rows)
        words = "nothing odd was found, but there is nothing from outside to measure by" if odd else ""
        shown = f"<li>{words or 'nothing could be held against a limit'}</li>"
    elif status == "pass":
        shown = "<li>every check that could be made passed</li>"
    if page.verdict and status in ("pass", "not_assessed"):
        # a pass must not hide what nobody measured
        missing = [row.sentence for row in page.verdict.rows if row.status == "not_assessed" and not row.structure]
        shown += "".join(f"<li>{escape(one)}</li>" for one in missing)
    return (
        f'<header class="banner {status}"><h1>{escape(status.replace("_", " "))}</h1>'
        f"<p>{escape(page.title)} — {FOR_REVIEW}</p><ul>{shown}{more}</ul>"
        f'<p class="fine">{USE} · jrs {escape(page.version)}{f" · {escape(page.date)}" if page.date else ""}</p></header>'
    )


def _inputs(page: Page) -> str:
    lines = []
    for one in page.inputs:
        size = "×".join(str(n) for n in one.get("size", ()))
        spacing = " × ".join(f"{float(s):.3g}" for s in one.get("spacing_mm", ()))
        lines.append([str(one.get("role", "")), str(one.get("modality") or one.get("kind", "")), size, spacing])
    voxel = f"<p>Largest voxel dimension v = {page.v_mm:.3g} mm.{_wide(page)}</p>" if page.v_mm else ""
    remarks = "".join(f"<li>{escape(one)}</li>" for one in page.remarks)
    return _table(["input", "kind", "voxels", "voxel size, mm"], lines) + voxel + (f"<ul>{remarks}</ul>" if remarks else "")


def _wide(page: Page) -> str:
    """A word where limits that follow the slice distance say little of what happens within a slice."""
    sizes = [float(size) for one in page.inputs for size in one.get("spacing_mm", ())]
    if not page.v_mm or not sizes or page.v_mm < WIDE * min(sizes):
        return ""
    return (
        f" Limits that follow v are wide here: the smallest voxel dimension is {min(sizes):.3g} mm (--tolerances sets others)."
    )


def _gate(page: Page) -> str:
    if not page.verdict or not page.verdict.rows:
        return ""
    head = "".join(f"<th>{name}</th>" for name in ("structure", "check", "result", "value", "limit", "what it says", "source"))
    sources = list(dict.fromkeys(row.source for row in page.verdict.rows))
    lines = []
    for row in page.verdict.rows:
        value = "" if row.value is None else f"{row.value:.4g} {row.unit}".strip()
        tight = "".join(f'<td class="tight">{escape(cell)}</td>' for cell in (value, row.limit))
        first = f"<td>{escape(row.structure or 'whole image')}</td><td>{_breakable(row.id)}</td>{_status(row.status)}"
        lines.append(f"<tr>{first}{tight}<td>{escape(row.sentence)}</td><td>[{sources.index(row.source) + 1}]</td></tr>")
    notes = "".join(f"<li>{escape(one)}</li>" for one in sources)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table><p>Sources</p><ol>{notes}</ol>"


def _status(status: str) -> str:
    return f'<td><span class="status {status}">{status.replace("_", " ")}</span></td>'


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    if not lines:
        return ""
    number = [all(_is_number(line[n]) for line in lines) for n in range(len(header))]
    kind = [' class="number"' if one else "" for one in number]
    head = "".join(f"<th{kind[n]}>{_breakable(cell)}</th>" for n, cell in enumerate(header))
    body = "".join("<tr>" + "".join(f"<td{kind[n]}>{escape(c)}</td>" for n, c in enumerate(line)) + "</tr>" for line in lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _breakable(title: str) -> str:
    """A long name that may be broken between its parts."""
    return escape(title).replace("_", "_<wbr>").replace("(", "<wbr>(")


def _is_number(text: str) -> bool:
    return text == "n/a" or text.lstrip("+-−").replace(".", "", 1).replace("e-", "").isdigit()


def _figure(picture: Picture) -> str:
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>"
    if picture.second is None:
        return f"<figure>{_image(picture.data, picture.caption)}{caption}</figure>"
    both = _image(picture.data, picture.caption) + _image(picture.second, f"{picture.caption} (second picture)")
    button = '<button type="button" hidden aria-pressed="false">start flicker</button>'
    return f'<figure class="flicker">{button}<div class="pair">{both}</div>{caption}</figure>'


def _image(data: bytes, words: str) -> str:
    return f'<img alt="{escape(words, quote=True)}" src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'


def _card(card: Card) -> str:
    statuses = [row.status for row in card.gates]
    worst = next((status for status in ("fail", "review", "pass") if status in statuses), "not_assessed")
    flags = "".join(f'<span class="flag">{escape(flag)}</span>' for flag in (card.row.flags if card.row else ()))
    sentences = "".join(f"<li>{escape(row.sentence)}</li>" for row in card.gates if row.status in ("fail", "review"))
    return (
        f'<div class="card {worst}"><h3>{escape(card.title)}</h3><p>{flags}</p>'
        + (f"<ul>{sentences}</ul>" if sentences else "")
        + _facts(card.facts)
        + "".join(_figure(one) for one in card.pictures)
        + "</div>"
    )


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    lines = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in facts)
    return f'<dl class="facts">{lines}</dl>' if lines else ""


def _record(record: Mapping[str, Any]) -> str:
    if not record:
        return ""
    text = json.dumps(record, indent=1, ensure_ascii=False)
    return f"<details><summary>run.json</summary><pre>{escape(text)}</pre></details>"


def _section(title: str, content: str, name: str, *, screen: bool = False) -> tuple[str, str]:
    """The section and the link to it; neither where there is nothing to show."""
    if not content:
        return "", ""
    kind = ' class="screen"' if screen else ""
    return f'<section id="{name}"{kind}><h2>{title}</h2>{content}</section>', f'<a href="#{name}">{title}</a>'


def _asset(name: str) -> str:
    return resources.files("jrscli.report").joinpath("assets", name).read_text("utf-8")
