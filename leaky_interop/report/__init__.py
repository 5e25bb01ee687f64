"""What a verification found, and its renderings: one record, written as text, JSON, Markdown or HTML.

The renderings only write what the record says; none computes a number of its own. They are loaded when they are asked
for, so that jinja2 is needed for HTML alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .record import Error, GradientResult, NodeResult, OutputResult, Report, Slope

__all__ = ["Error", "GradientResult", "NodeResult", "OutputResult", "Report", "Slope"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import record

    return getattr(record, name)
