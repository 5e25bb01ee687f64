"""Which slope arrives: exporters and converters, each a file like a runtime's, asked for every spelling of LeakyReLU.

A file has the same two functions as a runtime and needs nothing of this package, so that it runs in an interpreter of its
own; the worker is the same.

    def describe() -> dict   # name, version, variants, dtypes; "spellings" and "defaults": by variant, the ways of saying
                             # the slope, and what each means when it is left out
    def run(job, arrays)     # job: {"variant", "spelling", "dtype", "slope"}; arrays: {"x"}, of rank 1, x[0] = -1
        # returns {"source": what the source framework computes, "result": what is computed after the conversion,
        #          "form": the operators of what was made, as bytes}; raises "source: ...", "exporter: ..." or
        #          "runtime: ..." for whoever refuses

`python -m leaky_interop.conformance.exporters [--install] [NAME ...]` asks them and writes the record and its table.
Known differences stand beside a file, in NAME.known.txt. What arrived is measured, not read: the slope is what -1
becomes, whatever operators it was made of.
"""

from .asking import Arrival, plans, run
from .tables import to_markdown

__all__ = ["Arrival", "plans", "run", "to_markdown"]
