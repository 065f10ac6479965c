"""batch.html: a cohort on one page, worst first, in one file that opens offline."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from html import escape
from importlib import resources
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from jrscli.report.page import FOR_REVIEW, POLICY, USE
from jrscli.report.tables import number_text

_STATUS = {"failed": "fail", "quarantined": "fail", "review": "review", "ok": "pass"}
_RANK = {"failed": 0, "quarantined": 1, "review": 2, "ok": 3}
_TITLES = {
    "disagreement_max_mm": "disagreement, mm",
    "dice_min": "Dice, worst",
    "dice_mean": "Dice, mean",
    "hd95_max_mm": "HD95, worst, mm",
    "folding_percent": "folds, %",
    "inverse_consistency_p95_mm": "inverse p95, mm",
    "jacobian_min": "Jacobian, least",
}
_LOW_IS_BAD = ("dice_min", "dice_mean", "jacobian_min")
_BARS = 12
MOST_PICTURES = 200


def cohort_page(
    title: str,
    lines: Sequence[Mapping[str, Any]],
    summary: Mapping[str, Any],
    *,
    reasons: Mapping[str, str] = MappingProxyType({}),
    pages: Mapping[str, str] = MappingProxyType({}),
    picture_of: Callable[[str], str] = lambda case: "",
) -> bytes:
    """The page as UTF-8. lines: those of the log; reasons: why a case failed; pages: the file of a case to look at.

    picture_of: the data URI of a small picture of a case; it is asked for the worst `MOST_PICTURES` only.
    """
    figures = [name for name in _TITLES if any(isinstance(line.get(name), int | float) for line in lines)]
    ordered = sorted(lines, key=lambda line: _badness(line, figures))
    head = "".join(_head(n, words) for n, words in enumerate(("case", "result", *(_TITLES[n] for n in figures), "s", "reason")))
    shown = [str(line.get("case")) for line in ordered if line.get("out")][:MOST_PICTURES]
    pictures = {case: picture_of(case) for case in shown}
    body = "".join(_row(line, figures, reasons, pages, pictures) for line in ordered)
    counts = summary.get("counts") or {}
    status = next((_STATUS[one] for one in _RANK if counts.get(one)), "none")
    words = ", ".join(f"{counts[one]} {one}" for one in _RANK if counts.get(one)) or "no case"
    css, script = (resources.files("jrscli.report").joinpath("assets", name).read_text("utf-8") for name in _ASSETS)
    histograms = "".join(_histogram(_TITLES[name], [line.get(name) for line in lines]) for name in figures)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{css}</style></head>\n<body><main>"
        f'<header class="banner {status}"><h1>{escape(title)}: {len(lines)} cases</h1><p>{words}, {FOR_REVIEW}</p>'
        f'<p class="fine">{USE}; jrs {escape(str(summary.get("jrs", "")))}, {date.today().isoformat()}</p></header>'
        f'<p class="screen">Worst first; a click on a heading sorts by it. <input id="find" type="search" '
        'placeholder="find a case or code" aria-label="find"></p>'
        f'<div class="wide"><table id="cases"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        + (f'<section><h2>Distributions</h2><div class="histograms">{histograms}</div></section>' if histograms else "")
        + f"<section><h2>Record</h2><details><summary>cohort.json</summary><pre>{_record(summary)}</pre></details></section>"
        f"</main><script>{script}</script></body></html>\n"
    ).encode()


_ASSETS = ("cohort.css", "cohort.js")


def _badness(line: Mapping[str, Any], figures: Sequence[str]) -> tuple[Any, ...]:
    """What failed comes first, then by one figure after the other (one that is missing counts as worse), then by name."""
    rank = _RANK.get(str(line.get("status")), 0)
    values = [line.get(name) for name in figures]
    bad = [
        -math.inf if not isinstance(value, int | float) else value if name in _LOW_IS_BAD else -value
        for name, value in zip(figures, values, strict=True)
    ]
    return rank, bad, str(line.get("case"))


def _head(number: int, words: str) -> str:
    kind = "" if words in ("case", "result", "reason") else ' class="number"'
    return f'<th scope="col"{kind}><button type="button" data-column="{number}">{escape(words)}</button></th>'


def _row(
    line: Mapping[str, Any],
    figures: Sequence[str],
    reasons: Mapping[str, str],
    pages: Mapping[str, str],
    pictures: Mapping[str, str],
) -> str:
    case, status = str(line.get("case")), str(line.get("status"))
    page, picture = pages.get(case), pictures.get(case)
    name = escape(case) + (f'<img src="{picture}" alt="">' if picture else "")
    name = f'<a href="{quote(case)}/{page}">{name}</a>' if page and line.get("out") else name
    cells = [f'<td data-value="{escape(case, quote=True)}">{name}</td>']
    mark = f'<span class="status {_STATUS.get(status, "none")}">{escape(status)}</span>'
    cells.append(f'<td data-value="{_RANK.get(status, 0)}">{mark}</td>')
    cells += [_number(line.get(one)) for one in figures]
    cells.append(_number((line.get("timing") or {}).get("seconds"), 1))
    code = str(line.get("code") or "")
    words = " ".join(part for part in (reasons.get(case, ""), f"[{code}]" if code else "") if part)
    cells.append(f"<td>{escape(words)}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _number(value: Any, digits: int | None = None) -> str:
    if not isinstance(value, int | float):
        return '<td class="number" data-value=""></td>'
    text = number_text(float(value)) if digits is None else f"{value:.{digits}f}"
    return f'<td class="number" data-value="{value!r}">{text}</td>'


def _histogram(title: str, values: Sequence[Any]) -> str:
    """The distribution of a figure as bars, drawn as SVG."""
    found = [float(value) for value in values if isinstance(value, int | float)]
    if len(found) < 3 or min(found) == max(found):
        return ""
    low, high = min(found), max(found)
    counts = [0] * _BARS
    for value in found:
        counts[min(_BARS - 1, int((value - low) / (high - low) * _BARS))] += 1
    bars = "".join(
        f'<rect x="{20 * n}" y="{60 - 56 * count / max(counts):.1f}" width="18" height="{56 * count / max(counts):.1f}">'
        f"<title>{count} cases</title></rect>"
        for n, count in enumerate(counts)
    )
    words = f'<text x="0" y="74">{number_text(low)}</text><text x="238" y="74" text-anchor="end">{number_text(high)}</text>'
    picture = f'<svg viewBox="0 0 240 78" role="img" aria-label="{escape(title, quote=True)}">{bars}{words}</svg>'
    return f"<figure>{picture}<figcaption>{escape(title)}, {len(found)} cases</figcaption></figure>"


def _record(summary: Mapping[str, Any]) -> str:
    return escape(
        json.dumps({key: value for key, value in summary.items() if key != "structures"}, indent=1, ensure_ascii=False)
    )
