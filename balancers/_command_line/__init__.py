"""Contains the command line, with one module per command.

Before the arguments are read, nothing is imported that takes long.
"""

from balancers._command_line.main import main as main
