"""Conversion: load, prepare for the target, build; and writing the result to a file, verified."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from . import frameworks, ports
from .collector import paused
from .errors import Mismatch, Unsupported, Usage
from .frameworks.base import arrange
from .graph import Graph
from .layout import native_ports
from .loading import load
from .stages import stage

if TYPE_CHECKING:
    from .report import Report

SUFFIXES = {".onnx": "onnx", ".keras": "keras", ".pt2": "torch", ".py": "torch", ".safetensors": "torch", ".m": "matlab"}

SOURCES = ("torch", "keras")  # whose source can be written


@dataclasses.dataclass
class Conversion:
    """A finished conversion: everything that a verification needs."""

    graph: Graph  # as the target computes it; its anchors lead back to the source
    model: Any
    handles: dict[int, Any]  # which native value computes each canonical one
    framework: str

    @property
    def order(self) -> list[int] | None:
        """Where each output of the graph stands among the target's flat ones, if not at the same place."""
        engine = frameworks.get(self.framework)
        if not hasattr(engine, "leaves") or self.graph.structure is None:
            return None
        leaves = engine.leaves(arrange(self.graph.structure, range(len(self.graph.outputs))))  # as it was built
        return [leaves.index(i) for i in range(len(leaves))] or None


@paused
def transfer_graph(
    graph: Graph,
    to: str,
    *,
    io: str = "as_source",
    opset: int | None = None,
    path: Path | None = None,
    external_data: bool | None = None,
    channels_last: bool = False,
) -> Conversion:
    """Build a graph in a framework; with a path, write it there too, without the whole model in memory where the engine can."""
    if io not in ("as_source", "native"):
        raise Usage(f"io={io!r}", why="it is 'as_source' or 'native'")
    engine = frameworks.get(to)
    prepared = engine.prepare(graph)
    if io == "native" or getattr(engine, "FIXED_LAYOUT", False):
        prepared = native_ports(prepared)
    if path is not None and hasattr(engine, "build_file"):
        model, handles = engine.build_file(prepared, path, opset=opset, external_data=external_data)
    else:
        model, handles = engine.build(prepared, **({"channels_last": True} if channels_last else {"opset": opset}))
        if path is not None:
            engine.save(model, path, prepared)
    return Conversion(prepared, model, handles, to)


def convert(
    source: Any,
    to: str | os.PathLike[str],
    io: Literal["as_source", "native"] = "as_source",
    example: Any = None,
    input_shapes: Any = None,
    *,
    weights: Any = None,
    static_batch: bool = False,
    dynamic_batch: bool = False,
    fast_math: bool = False,
    framework: Literal["torch", "keras"] | None = None,
    channels_last: bool = False,
    opset: int | None = None,
    external_data: bool | None = None,
    fold_batch_norm: bool = False,
    float16: Literal["inside", "everywhere"] | None = None,
    rename: Mapping[str, str] | None = None,
    inputs: Any = None,
    verify: bool | None = None,
    cut_inputs: Any = None,
    cut_outputs: Any = None,
    atol: Any = None,
    rtol: Any = None,
    reproducer: str | os.PathLike[str] | None = None,
    allow_root: str | os.PathLike[str] | None = None,
    trust: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
    signature: str | None = None,
) -> Any:
    """Convert a network.

    Parameters
    ----------
    source : a Keras, PyTorch or ONNX model, a path, or "package.module:factory"
    to : "keras", "torch" or "onnx" for a living model ("matlab" for a layer array); or a path ending in .keras, .onnx,
        .pt2, .m (MATLAB source, whose numbers go into a .mat file beside it) or .py (Python source, whose weights go
        into a .safetensors or .weights.h5 file beside it; .safetensors writes the same two files)
    io : "as_source" (the same arrays go into both) or "native" (inputs and outputs in the target's own layout)
    example, input_shapes, weights, static_batch, dynamic_batch, fast_math : as for `load`
    allow_root, trust, custom_objects, signature : as for `load`, where files are opened
    framework : whose source a .py file is: "torch" by default, or "keras"
    channels_last : a PyTorch model in torch.channels_last memory format, as is what it computes; it takes and gives the
        same arrays
    opset : ONNX operator set to write, from 13; by default the newest that the installed onnxruntime takes,
        or 18 for average pools beside what it says as well: later ones have a slow kernel
    external_data : whether an ONNX file's weights go into a file beside it, `net.onnx.data`; by default above 1.5 GiB
    fold_batch_norm : take batch norms, and other scales and shifts by channel, into the convolution or dense layer beside
        them, store what weights alone decide, compute once what repeats and leave out what changes nothing, for deployment:
        fewer nodes, which do not train as before; the report's notes list what stays, and why
    float16 : convert the numbers to float16: "inside" leaves inputs and outputs as they are, "everywhere" does not
    rename : other names for inputs and outputs, old name -> new name
    inputs : arrays to verify with, instead of seeded random ones
    verify : check the numbers and raise Mismatch where they differ; by default for files, and not for living models
    cut_inputs, cut_outputs : names of values to cut the network at
    atol, rtol : absolute and relative tolerances of the outputs, instead of the ones derived from the operators
    reproducer : a folder to write the first node that differs to, as a model of its own with its inputs

    Returns the native model (GraphModule, keras.Model, ModelProto), or a Report when `to` is a path. A failed conversion
    writes nothing.
    """
    from . import files
    from .cutting import cut
    from .verification import verify_conversion

    framework, path = _target(to, framework)
    if channels_last and framework != "torch":
        raise Usage("channels_last", why=f"{framework} models have no such memory format", hint="Keras is channels last by itself")
    if external_data is not None and (framework != "onnx" or path is None):
        raise Usage("external_data", why="only ONNX files hold their weights in a file beside them")
    stage("load")
    try:
        graph = load(
            source,
            example,
            input_shapes,
            weights=weights,
            static_batch=static_batch,
            dynamic_batch=dynamic_batch,
            fast_math=fast_math,
            allow_root=allow_root,
            trust=trust,
            custom_objects=custom_objects,
            signature=signature,
        )
    except Unsupported as error:
        if error.partial is None or not (cut_inputs or cut_outputs):
            raise
        graph = error.partial  # what is missing may lie outside the cut
    if cut_inputs or cut_outputs:
        graph = cut(graph, cut_inputs, cut_outputs)
    if fold_batch_norm:
        from .passes.folding import folded

        graph = folded(graph)
    if rename:
        graph = ports.rename(graph, rename)
    stage("convert")
    wanted = path is not None if verify is None else verify
    options = {"io": io, "opset": opset, "channels_last": channels_last}
    checks = {"inputs": inputs, "atol": atol, "rtol": rtol}
    source_graph = graph
    if float16 is not None:
        from .half import against, fitting, halved

        if wanted:
            stage("verify")
            _verified(transfer_graph(graph, framework, **options), reproducer, checks)
        graph = halved(graph, float16)
        checks["inputs"] = None if inputs is None else fitting(graph, source_graph, inputs)
    if path is not None and not wanted:
        with files.atomic(path) as temporary:
            conversion = transfer_graph(graph, framework, **options, path=temporary, external_data=external_data)
        return verify_conversion(conversion, nodes=False, run=False)
    conversion = transfer_graph(graph, framework, **options)
    if not wanted:
        return conversion.model
    stage("verify")
    report = _verified(conversion, reproducer, checks)
    if float16 is not None:
        outputs = against(source_graph, conversion, graph, inputs)
        report = dataclasses.replace(report, source=source_graph.description, outputs=(*report.outputs, *outputs))
        if not report.passed:
            raise Mismatch(report)
    if path is None:
        return conversion.model
    stage("write")
    with files.atomic(path) as temporary:
        details = {"external_data": external_data} if framework == "onnx" else {}
        frameworks.get(framework).save(conversion.model, temporary, conversion.graph, **details)
    return report


def _verified(conversion: Conversion, reproducer: Any, checks: dict[str, Any]) -> Report:
    """The report of a verification. Raises Mismatch where the numbers differ."""
    from .reproducer import reproducing
    from .verification import verify_conversion

    with reproducing(reproducer) as evidence:
        report = verify_conversion(conversion, evidence=evidence, **checks)
    if not report.passed:
        raise Mismatch(report)
    return report


def _target(to: str | os.PathLike[str], framework: str | None = None) -> tuple[str, Path | None]:
    path = Path(to)
    if framework is not None:
        if path.suffix != ".py" or framework not in SOURCES:
            raise Usage(f"framework={framework!r}", why="it says whose source a .py file is: torch or keras")
    elif isinstance(to, str) and to in (*frameworks.NAMES, *frameworks.FORMATS):
        return to, None
    if path.suffix not in SUFFIXES:
        raise Usage(
            f"the target {path.name!r} is not understood",
            hint=f"Give keras, torch or onnx, or a file name ending in {', '.join(SUFFIXES)}",
        )
    if not path.parent.is_dir():
        raise Usage(f"the folder of {path.name!r} does not exist")
    return framework or SUFFIXES[path.suffix], path
