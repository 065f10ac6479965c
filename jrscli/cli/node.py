"""``jrs node``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from jrscli.cli import batch, options

_NET = "Network"
_WORK = "What is done"


class NodeTask(StrEnum):
    """What can be done with what arrives."""

    propagate = "propagate-contours"
    segment = "segment"


Config = Annotated[
    Path | None,
    typer.Option(
        "--config", help="YAML file with these options: send_to, quiet_for … Options given here win.", show_default=False
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Folder for queue, received objects and results.",
        show_default=False,
        rich_help_panel="Common options",
    ),
]
Title = Annotated[str, typer.Option("--title", metavar="AET", help="AE title of this node.", rich_help_panel=_NET)]
Host = Annotated[str, typer.Option("--host", help="Address to listen on; 0.0.0.0 for all.", rich_help_panel=_NET)]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on.", rich_help_panel=_NET)]
Accept = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        metavar="AET@ADDRESS",
        help="Who may send: an AE title from an address or network (10.1.2.0/24); once per peer.",
        show_default=False,
        rich_help_panel=_NET,
    ),
]
SendTo = Annotated[
    str | None,
    typer.Option(
        "--send-to", metavar="AET@HOST:PORT", help="Where results are sent.", show_default=False, rich_help_panel=_NET
    ),
]
ObjectSize = Annotated[float, typer.Option("--max-object-mb", min=0.01, help="Largest object.", rich_help_panel=_NET)]
Associations = Annotated[int, typer.Option("--max-associations", min=1, help="Associations at once.", rich_help_panel=_NET)]
RetryEvery = Annotated[
    float,
    typer.Option(
        "--retry-every", min=0.1, metavar="SECONDS", help="Pause before sending again; it doubles.", rich_help_panel=_NET
    ),
]
Task = Annotated[NodeTask, typer.Option("--task", help="The command for each patient.", rich_help_panel=_WORK)]
Words = Annotated[
    str,
    typer.Option("--options", metavar="WORDS", help="Options of that command.", show_default=False, rich_help_panel=_WORK),
]
QuietFor = Annotated[
    float,
    typer.Option(
        "--quiet-for",
        min=0.0,
        metavar="SECONDS",
        help="A patient is taken when nothing came for so long.",
        rich_help_panel=_WORK,
    ),
]
KeepDays = Annotated[float, typer.Option("--keep-days", min=0.0, help="How long received objects stay.", rich_help_panel=_WORK)]
Once = Annotated[
    bool, typer.Option("--once", help="Do and send what is quiet now, without listening, and end.", rich_help_panel=_WORK)
]


def node(
    context: typer.Context,
    config: Config = None,
    output: Output = None,
    accept: Accept = None,
    send_to: SendTo = None,
    title: Title = "JRS",
    host: Host = "127.0.0.1",
    port: Port = 11112,
    max_object_mb: ObjectSize = 512.0,
    max_associations: Associations = 64,
    retry_every: RetryEvery = 30.0,
    task: Task = NodeTask.propagate,
    task_options: Words = "",
    pair: batch.PairRule = options.PairName.planning,
    quiet_for: QuietFor = 60.0,
    keep_days: KeepDays = 90.0,
    timeout_per_case: batch.Timeout = None,
    threads: options.Threads = None,
    once: Once = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Receive DICOM, contour each patient who is complete, and send RTSTRUCT (and REG) back.

    A DICOM node: it takes CT, MR, PET and RTSTRUCT by C-STORE from the peers of --accept, waits until nothing came for a
    patient for --quiet-for seconds, runs the command, and sends the DICOM that it writes to --send-to, as often as it takes.
    The queue outlives a restart; Ctrl-C or SIGTERM ends it, and a case at hand is done again at the next start.

    Examples:

      jrs node -o node --accept TPS@10.1.2.3 --send-to TPS@10.1.2.3:104

      jrs node --config node.yaml
    """
    from jrscli.cli.node_config import settings_of
    from jrscli.cli.node_run import serve

    serve(settings_of(context, config), once=once, quiet=quiet, verbose=verbose)
