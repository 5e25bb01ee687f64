"""The main job on real data: a trained digits CNN goes through every framework, and stays the same network.

Run by `make demo`. Everything written lands in `out/`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import leaky_interop as li
from leaky_interop.loading import open_model
from models import digits

OUT = Path("out")
console = Console(highlight=False)


def main() -> int:
    """Convert, verify, classify, and let one conversion go wrong. The exit code is 0 where all of it went as it should."""
    began = time.perf_counter()
    OUT.mkdir(exist_ok=True)
    source = Path(__file__).with_name("digits.keras")
    console.print(f"[bold]A trained Keras network[/]: {source.name}, {source.stat().st_size // 1024} KB\n")
    with console.status("Starting the frameworks"):
        inspected = li.inspect(source)
    console.print(str(inspected), markup=False)
    console.print()

    onnx_file = OUT / "digits.onnx"
    step("Keras -> ONNX", lambda: li.convert(source, onnx_file))
    keras_model = open_model(source)
    module = step("Keras -> PyTorch", lambda: li.convert(source, "torch"), keras_model)
    again = step("PyTorch -> Keras", lambda: li.convert(module, "keras"), module)
    from_onnx = step("ONNX -> PyTorch", lambda: li.convert(onnx_file, "torch"), onnx_file)

    same = classify({"Keras, the source": source, "ONNX in onnxruntime": onnx_file, "PyTorch": from_onnx, "Keras again": again})
    named = go_wrong(keras_model, module)
    console.print(f"\nReports: {OUT}/digits.onnx.html and {OUT}/wrong_slope.html  ({time.perf_counter() - began:.0f} s)")
    return 0 if same and named else 1


def step(title: str, work: Any, source: Any = None) -> Any:
    """One conversion, verified node by node, in a line."""
    with console.status(title):
        began = time.perf_counter()
        made = work()
        report = made if source is None else li.verify(source, made)
        seconds = time.perf_counter() - began
    if source is None:
        (OUT / "digits.onnx.html").write_text(report.to_html(), encoding="utf-8")
    agree = f"{sum(n.passed for n in report.nodes)} of {len(report.nodes)} nodes within their limits"
    outputs = f"{sum(o.passed for o in report.outputs)} of {len(report.outputs)} outputs"
    mark = "[green]✓[/]" if report.passed else "[red]✗[/]"
    console.print(f"{mark} {title:<17} {agree}, {outputs}  ({seconds:.1f} s)")
    if not report.passed:
        console.print(str(report), markup=False)
        sys.exit(1)
    return made


def classify(models: dict[str, Any]) -> bool:
    """Accuracy on the held-back digits, side by side; whether every prediction is the same."""
    *_, images, labels = digits.load_data()
    table = Table("network", "accuracy", "predictions equal to the source's", title=f"{len(labels)} held-back digits")
    predictions = {}
    for name, model in models.items():
        predictions[name] = li.run(model, images)[0].argmax(-1)
    first = next(iter(predictions.values()))
    for name, found in predictions.items():
        table.add_row(name, f"{np.mean(found == labels):.2%}", f"{np.sum(found == first)} of {len(labels)}")
    console.print()
    console.print(table)
    return all(np.array_equal(found, first) for found in predictions.values())


def go_wrong(source: Any, module: Any) -> bool:
    """Plant a wrong slope in the PyTorch network; whether the report names its very layer."""
    import torch

    name, layer = next((n, m) for n, m in module.named_modules() if isinstance(m, torch.nn.LeakyReLU))
    right, layer.negative_slope = layer.negative_slope, 0.01
    report = li.verify(source, module)
    layer.negative_slope = right
    (OUT / "wrong_slope.html").write_text(report.to_html(), encoding="utf-8")
    found = report.first_difference
    console.print(f"\nWith the slope of [bold]{name}[/] changed from {right} to 0.01, the report says:")
    if report.passed or found is None or not hasattr(found, "own"):
        console.print("[red]nothing. It should have.[/]")
        return False
    error = found.own
    console.print(
        f"  first difference: [bold]{found.name}[/] ({found.op}, from {found.source}): "
        f"differs by {error.absolute:.3g} ({error.ulp:,.0f} ulp), allowed {error.limit:.3g}"
    )
    return found.name == name


if __name__ == "__main__":
    sys.exit(main())
