"""``jrs doctor``."""

from __future__ import annotations

from typing import Annotated

import typer

from jrscli.cli import options
from jrscli.cli.talk import Talk
from jrscli.errors import ProviderError


def doctor(
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda|cuda:N", help="Device that has to work.")] = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Check this machine: packages, devices, memory, scratch space and optional tools.

    Examples:

      jrs doctor

      jrs doctor --json
    """
    from jrscli.cli.checks import checks

    with Talk(json_output=json, quiet=quiet, verbose=verbose) as talk:
        found = checks()
        if json:
            talk.print_json(
                {"checks": [check.document() for check in found], "ok": all(check.state != "bad" for check in found)}
            )
        else:
            width = max(len(check.name) for check in found)
            for check in found:
                typer.echo(
                    f"{check.state:<5} {check.name:<{width}}  {check.found}" + (f"  -> {check.hint}" if check.hint else "")
                )
        bad = next((check for check in found if check.state == "bad"), None)
        if bad is not None:
            raise ProviderError(f"{bad.name}: {bad.found}", code="doctor.failed", hint=bad.hint or "see the list above")
        if device.startswith("cuda") and not any(check.name == "GPU" and check.state == "ok" for check in found):
            raise ProviderError(
                "no usable GPU", code="provider.cuda", hint="install a torch build for your GPU, or use --device cpu"
            )
