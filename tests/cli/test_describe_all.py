"""What is recorded of several registrations."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from jrscli.cli.register import describe_all


def registration(folding: float, low: float, high: float, back: float, failed: str | None = None) -> Any:
    return SimpleNamespace(
        steps=(),
        init="header",
        folding_percent=folding,
        jacobian_min=low,
        jacobian_max=high,
        inverse_consistency_p95_mm=back,
        inverse_consistency_max_mm=2 * back,
        failed=failed,
    )


def test_of_many_the_worst_of_each_figure_is_recorded() -> None:
    record = SimpleNamespace(facts={}, status="ok", code="", add_step=lambda *_: None)
    run: Any = SimpleNamespace(record=record, talk=SimpleNamespace(detail=lambda _: None, close_bar=lambda: None))
    describe_all(run, [registration(0.1, 0.5, 2.0, 0.3), registration(0.4, 0.2, 1.5, 0.1, "unsure"), registration(0, 1, 1, 0)])
    assert record.facts == {
        "init": "header",
        "folding_percent": 0.4,
        "jacobian_min": 0.2,
        "jacobian_max": 2.0,
        "inverse_consistency_p95_mm": 0.3,
        "inverse_consistency_max_mm": 0.6,
    }
    assert (record.status, record.code) == ("failed", "register.failed")
