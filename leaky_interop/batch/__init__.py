"""Many conversions: what is to be converted, a journal of what has been, and workers that do it, one process a model.

`plan` finds the models of a folder or reads a manifest; `run` converts them, each in a worker of its own, so that one
that fails or crashes harms no other; the journal lets a second run go on where the first one ended.
"""

from .journal import Journal
from .manifest import read_manifest
from .plan import Job, plan
from .record import Batch, Result
from .running import Batcher

__all__ = ["Batch", "Batcher", "Job", "Journal", "Result", "plan", "read_manifest"]
