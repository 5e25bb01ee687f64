"""The option `--runtime` of pytest, where it was asked for this package's suite and nowhere else.

pytest reads a package's conftest.py only after its options, when the package is named by --pyargs; so the option comes
from an installed plugin. Every run of pytest loads this file: it imports nothing.
"""

SUITE = "leaky_interop.conformance"


def pytest_load_initial_conftests(early_config, parser, args):
    if any(argument.partition("::")[0] == SUITE for argument in args):
        parser.addoption("--runtime", action="append", default=[], help="A runtime to ask; all where none is given.")
