"""``python -m jrscli`` is ``jrs``."""

import sys

from jrscli.cli import app

if __name__ == "__main__":
    sys.exit(app())
