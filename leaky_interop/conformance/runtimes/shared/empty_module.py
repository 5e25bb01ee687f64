"""Not a runtime: stands in for a package that another one imports at its start and that is never called."""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types


class Empty(types.ModuleType):
    """A module in which every name is a class that takes anything, enough for decorators and constants at import time."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        ignore = lambda self, *_, **__: None  # noqa: E731
        members = {"__init__": ignore, "defjvp": ignore, "__call__": lambda self, *given: given[0]}
        return type(name, (), members)


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, package):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.package:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return Empty(spec.name)

    def exec_module(self, module):
        pass


def stand_in(package):
    """Let a package that is not installed be imported, empty."""
    if importlib.util.find_spec(package) is None:
        sys.meta_path.append(Finder(package))
