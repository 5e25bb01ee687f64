"""What the tests of spellings have in common."""

from __future__ import annotations

import leaky_interop as li

TABLE = li.slopes()
WRITTEN = [row for row in TABLE if row.writer is not None]


def only(found):
    """The one slope that was found."""
    (slope,) = found
    return slope
