"""The table of exit codes that ``jrs --help-codes`` prints."""

from __future__ import annotations

from jrscli.errors import ExitCode

EXIT_CODES = {
    ExitCode.OK: ("ok", "done; there may be warnings"),
    ExitCode.FAILURE: ("failure", "unforeseen error, write error, out of memory"),
    ExitCode.USAGE: ("usage", "unknown option or command, wrong combination"),
    ExitCode.GATE: ("gate", "a check of the result failed; results are written and marked"),
    ExitCode.INPUT: ("bad input", "missing path, unreadable or unsupported input, geometry that does not fit"),
    ExitCode.MODEL: ("model", "a model or an optional part is missing or does not take the input"),
    ExitCode.PROVIDER: ("provider", "the asked device, or Dask cluster, is not available"),
    ExitCode.INTERRUPTED: ("interrupted", "Ctrl-C or stopped; temporary files are removed"),
}
