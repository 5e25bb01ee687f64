"""The command line: parses, calls a verb of the package, prints.

Every error is one sentence on stderr and an exit code: 0 pass, 1 mismatch, 2 usage, 3 unsupported or refused, 4 unsafe
file, 5 runtime failure. No framework is imported before a verb needs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave with its exit code."""
    import typer

    from ..errors import RuntimeFailure
    from . import console

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reports its start on stderr
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal without ✓
    try:
        from .app import app

        given = list(sys.argv[1:] if arguments is None else arguments)
        code = app(args=given, obj=given, standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except BrokenPipeError:  # whoever read the output has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except SystemExit as end:  # the parser raises none: the user's code or an engine has
        code = console.failed(RuntimeFailure("a network's code has called exit", why=str(end.code or "")))
    except Exception as error:  # the last resort: whatever happened becomes a sentence and an exit code
        code = console.failed(error)
    sys.exit(code if isinstance(code, int) else 0)
