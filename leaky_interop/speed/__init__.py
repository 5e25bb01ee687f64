"""How fast models are: latency, throughput, memory and cold start of models in runtimes, side by side in one run."""

from .measuring import bench
from .record import Speed, Subject, Timing

__all__ = ["Speed", "Subject", "Timing", "bench"]
