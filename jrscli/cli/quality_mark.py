"""What a verdict leaves in the contours themselves, so that they tell it wherever they are sent."""

from __future__ import annotations

from jrscli.cli.run import Results, Run


def mark_contours(run: Run, results: Results, failed: str | None) -> None:
    """Write "QA: failed" or "QA: review" into each RTSTRUCT of the results and into run.json, where there is reason to.

    failed: why the registration is not to be trusted, if it is not.
    """
    verdict = run.record.facts.get("gate", {})
    word = "failed" if failed else "review" if verdict.get("status") in ("review", "fail") else None
    if word is None:
        return
    from jrscli.io.rtstruct_mark import mark_structure_set

    run.record.facts["qa"] = f"QA: {word}"
    for kind, name in results.files:
        if kind.startswith("rtstruct"):
            mark_structure_set(results.written(name), f"QA: {word}")
