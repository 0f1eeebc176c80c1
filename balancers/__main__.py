"""Runs the command line: ``python -m balancers``, or ``balancers`` after an installation."""

import sys

from balancers._command_line import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
