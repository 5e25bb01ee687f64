"""Samples of PyTorch's operators, each as a network of that one operator: from torch's own OpInfo, and a few written here.

Calls of core ATen are caught while torch runs the samples of its functions, so that each is asked on its own; what those
never call stands in `WRITTEN`. Functions are asked as a user calls them: before torch decomposes them.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

PER_OPERATOR = {
    torch.float32: 6, torch.float64: 1, torch.float16: 1, torch.bfloat16: 1, torch.int64: 2, torch.int32: 1, torch.uint8: 1, torch.bool: 1,
}  # fmt: skip
PER_FUNCTION = {torch.float32: 3}  # other element types are asked of core ATen, which functions are made of
LOOKED_AT = {torch.float32: (60, 20)}  # samples of one function: how many are made, and run to catch what they call
OTHERWISE = (12, 5)  # of other element types: making them takes longer than asking them
aten: Any = torch.ops.aten


@dataclasses.dataclass(frozen=True)
class Sample:
    """One call of an operator or function. constant: all tensors but the first of floats are weights of the network."""

    group: str  # "core" or "function"
    operator: str
    dtype: torch.dtype
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    constant: bool

    def network(self) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
        """The call as a module, and what it takes."""
        leaves, spec = pytree.tree_flatten((self.args, dict(self.kwargs)))
        tensors = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
        floats = (i for i in tensors if leaves[i].is_floating_point() or leaves[i].is_complex())
        first = next(floats, tensors[0] if tensors else 0)
        fed = [i for i in tensors if i == first or not self.constant]
        # Neither ONNX nor Keras have complex inputs: they are made inside.
        given = [torch.view_as_real(leaves[i].resolve_conj()) if leaves[i].is_complex() else leaves[i] for i in fed]
        arrays = tuple(g.detach().clone(memory_format=torch.contiguous_format) for g in given)
        return OneCall(self.function, leaves, spec, fed), arrays or (torch.ones(1),)


class OneCall(torch.nn.Module):
    """Calls a function on `leaves`, those at `fed` replaced by what it is given; all tensors of the result, complex as pairs."""

    def __init__(self, function: Callable[..., Any], leaves: Sequence[Any], spec: Any, fed: Sequence[int]):
        super().__init__()
        self.function, self.spec, self.fed = function, spec, fed
        self.pairs = [isinstance(leaves[i], torch.Tensor) and leaves[i].is_complex() for i in fed]
        self.leaves = list(leaves)
        for i, leaf in enumerate(leaves):
            if isinstance(leaf, torch.Tensor) and i not in fed:
                self.register_buffer(f"weight{i}", leaf.detach().clone())

    def forward(self, *given: torch.Tensor) -> Any:
        leaves = [getattr(self, f"weight{i}", leaf) for i, leaf in enumerate(self.leaves)]
        for i, tensor, pair in zip(self.fed, given, self.pairs, strict=False):
            leaves[i] = torch.view_as_complex(tensor) if pair else tensor
        args, kwargs = pytree.tree_unflatten(leaves, self.spec)
        results = [r for r in pytree.tree_leaves(self.function(*args, **kwargs)) if isinstance(r, torch.Tensor)]
        results = [torch.view_as_real(r.resolve_conj()) if r.is_complex() else r for r in results]
        return tuple(results) if self.fed else (given[0] * 2, *results)


def core_operators() -> dict[str, Any]:
    """Every overload that torch tags as core ATen, by name."""
    names = (name.removeprefix("aten::") for name in torch._C._dispatch_get_all_op_names() if name.startswith("aten::"))
    pairs = ((packet, overload or "default") for packet, _, overload in (name.partition(".") for name in sorted(names)))
    overloads = (getattr(getattr(aten, packet), overload) for packet, overload in pairs if hasattr(getattr(aten, packet, None), overload))
    return {str(o): o for o in overloads if torch.Tag.core in o.tags}


def is_random(overload: Any) -> bool:
    """Whether an operator draws numbers."""
    return torch.Tag.nondeterministic_seeded in overload.tags


def signature(call: Any) -> str:
    """What tells a call from others: its numbers, and the shapes and element types of its tensors."""
    return repr(pytree.tree_map(lambda a: (a.shape, a.dtype) if isinstance(a, torch.Tensor) else a, call))


class _Calls(TorchDispatchMode):
    """Keeps every call of core ATen, one of each signature, and whether anything was drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, dict[Any, tuple[Any, ...]]] = {}
        self.random = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.random |= isinstance(func, torch._ops.OpOverload) and is_random(func)
        if isinstance(func, torch._ops.OpOverload) and torch.Tag.core in func.tags:
            known = self.found.setdefault(str(func), {})
            if (key := signature((args, kwargs))) not in known:
                known[key] = (
                    func,
                    *pytree.tree_map(lambda a: a.clone() if isinstance(a, torch.Tensor) else a, (args, kwargs)),
                )
        return func(*args, **kwargs)


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """That many of a list, evenly apart."""
    step = max(1, len(items) / count)
    return [items[int(i * step)] for i in range(min(count, len(items)))]


def widest(call: Any) -> torch.dtype:
    """The element type that a call is counted under: float64 where any tensor is, otherwise the first tensor's."""
    dtypes = [leaf.real.dtype for leaf in pytree.tree_leaves(call) if isinstance(leaf, torch.Tensor)]
    return torch.float64 if torch.float64 in dtypes else dtypes[0] if dtypes else torch.float32


@functools.cache
def samples() -> list[Sample]:
    """All samples, in one order, the same in every process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(_core()) + list(_functions())


@functools.cache
def _function_samples() -> tuple[list[tuple[Any, torch.dtype, list[Any]]], dict[str, dict[Any, tuple[Any, ...]]]]:
    """Samples of torch's functions by element type, and the calls of core ATen that they lead to."""
    from torch.testing._internal.common_methods_invocations import op_db

    calls, found = _Calls(), []
    for info in op_db:
        if info.name.startswith(
            ("jiterator", "sparse", "to_sparse")
        ):  # of graphics cards alone, or of no dense tensors
            continue
        for dtype in PER_OPERATOR:
            if dtype in info.supported_dtypes("cpu"):
                torch.manual_seed(0)
                wanted, run = LOOKED_AT.get(dtype, OTHERWISE)
                found_here = itertools.islice(info.sample_inputs("cpu", dtype, requires_grad=False), wanted)
                made = list({signature((s.input, s.args, s.kwargs)): s for s in found_here}.values())
                calls.random = False
                for sample in spread(made, run):
                    with torch.no_grad(), calls:
                        info.op(sample.input, *sample.args, **sample.kwargs)
                if dtype in PER_FUNCTION and not calls.random and not info.name.removeprefix("new_").startswith("empty"):
                    found.append((info, dtype, made))
    return found, calls.found


def _core() -> Iterator[Sample]:
    caught = _function_samples()[1]
    for name, overload in core_operators().items():
        if is_random(overload):
            continue
        by_dtype: dict[torch.dtype, list[Any]] = {}
        for call in (*written(name, overload), *(() if name in (*UNDEFINED, *READ) else caught.get(name, {}).values())):
            by_dtype.setdefault(widest(call[1:]), []).append(call)
        for dtype, count in PER_OPERATOR.items():
            for i, (function, args, kwargs) in enumerate(spread(by_dtype.get(dtype, ()), count)):
                function = _whichever(function) if name in TIED else function
                yield Sample("core", name, dtype, function, tuple(args), kwargs, bool(i % 2))


def _functions() -> Iterator[Sample]:
    for info, dtype, made in _function_samples()[0]:
        for i, sample in enumerate(spread(made, PER_FUNCTION[dtype])):
            yield Sample(
                "function", info.full_name, dtype, info.op, (sample.input, *sample.args), sample.kwargs, bool(i % 2)
            )


# --- what no function's sample calls ----------------------------------------------------------------------------------

# Their numbers are whatever stood in memory: asked with what a network does before it reads them.
UNDEFINED = ("aten.empty.memory_format", "aten.empty_strided.default", "aten.resize_.default")
# Their results are a Python number, or serve a gradient: asked with what reads them.
READ = ("aten._local_scalar_dense.default", "aten._embedding_bag.default")

# Which of equal elements comes first is not defined: asked for what stands at the places that they give.
TIED = ("aten.sort.default", "aten.topk.default")


def _whichever(overload: Any) -> Callable[..., Any]:
    def asked(x: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        given = dict(zip((a.name for a in overload._schema.arguments[1:]), args, strict=False)) | kwargs
        values, places = overload(x, *args, **kwargs)
        return values, x.gather(given.get("dim", -1), places)

    return asked


def written(name: str, overload: Any) -> Iterator[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    """Function, arguments and keywords of the samples of one core operator that stand here."""
    for arguments in WRITTEN.get(name, list)():
        function, args = (arguments[0], arguments[1:]) if callable(arguments[0]) else (overload, arguments)
        yield function, args, {}


def draw(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Seeded numbers, other ones for each shape."""
    generator = torch.Generator().manual_seed(sum(shape) + 7 * len(shape))
    if dtype.is_floating_point:
        return torch.randn(*shape, generator=generator).to(dtype)
    return torch.randint(0, 2 if dtype == torch.bool else 5, shape, generator=generator).to(dtype)


def _pairs() -> list[Any]:
    return [(draw(2, 3, dtype=d), draw(3, dtype=d)) for d in (torch.int64, torch.bool)]


def _scalars() -> list[Any]:
    return [(draw(2, 3, dtype=torch.int64), 3), (draw(4, dtype=torch.bool), True), (draw(4, 1, dtype=torch.int64), -2)]


def _bags() -> list[Any]:
    def bag(*args: Any) -> Any:
        return aten._embedding_bag(*args)[0]

    table, entries = draw(6, 3), torch.tensor([0, 5, 2, 2, 1, 4])
    offsets, weights = torch.tensor([0, 2, 2, 5]), draw(6)
    made = [(table, entries, offsets, False, mode) for mode in (0, 1, 2)] + [
        (table, entries, offsets, False, 0, False, weights),
        (table, entries, torch.tensor([0, 3, 6]), False, 1, False, None, True),
        (table, entries, offsets, False, 1, False, None, False, 2),
    ]
    return [(bag, *arguments) for arguments in made]


def _convolution_gradients() -> list[Any]:
    def gradients(x: Any, weight: Any, *settings: Any) -> tuple[Any, ...]:
        y = aten.convolution(x, weight, None, *settings)
        return draw(*y.shape), x, weight, [weight.shape[1 if settings[3] else 0]], *settings, [True, True, True]

    return [
        gradients(draw(2, 3, 7, 8), draw(4, 3, 3, 2), [1, 1], [0, 0], [1, 1], False, [0, 0], 1),
        gradients(draw(2, 4, 7, 8), draw(6, 2, 3, 3), [2, 1], [1, 2], [1, 2], False, [0, 0], 2),
        gradients(draw(1, 4, 5, 6), draw(4, 3, 3, 3), [2, 2], [1, 0], [1, 1], True, [1, 0], 1),
        gradients(draw(2, 3, 9), draw(4, 3, 3), [3], [1], [1], False, [0], 1),
    ]


def _pooling_gradients() -> list[Any]:
    def gradients(x: Any, *settings: Any) -> tuple[Any, ...]:
        return draw(*aten.avg_pool2d(x, *settings).shape), x, *settings

    return [
        gradients(draw(2, 3, 6, 8), [2, 2], [2, 2], [0, 0], False, True, None),
        gradients(draw(2, 3, 7, 9), [3, 2], [2, 1], [1, 1], True, False, None),
        gradients(draw(1, 2, 7, 5), [3, 3], [1, 2], [1, 0], False, True, 5),
    ]


def _statistics(x: Any, groups: int) -> tuple[Any, Any]:
    spread = x.reshape(x.shape[0], groups, -1)
    return spread.mean(-1), (spread.var(-1, unbiased=False) + 1e-5).rsqrt()


def _group_norm_gradients() -> list[Any]:
    made = []
    for shape, groups, weight in (((2, 4, 3, 5), 2, draw(4)), ((3, 6, 4), 3, draw(6)), ((1, 4, 2, 2), 4, draw(4))):
        x = draw(*shape)
        size, channels = shape[0], shape[1]
        rest = x.numel() // size // channels
        made.append(
            (draw(*shape) * 0.7, x, *_statistics(x, groups), weight, size, channels, rest, groups, [True, True, True])
        )
    return made


def _layer_norm_gradients() -> list[Any]:
    made = []
    for shape, last, weighted in (((2, 3, 5), 1, True), ((4, 6), 1, False), ((2, 3, 4), 2, True)):
        x = draw(*shape)
        axes = tuple(range(len(shape) - last, len(shape)))
        mean, scale = x.mean(axes, keepdim=True), (x.var(axes, unbiased=False, keepdim=True) + 1e-5).rsqrt()
        inner = shape[-last:]
        weights = (draw(*inner), draw(*inner)) if weighted else (None, None)
        made.append((draw(*shape) * 0.7, x, list(inner), mean, scale, *weights, [True, weighted, weighted]))
    return made


def _maximum_gradients() -> list[Any]:
    made = []
    for shape, settings in (
        ((2, 3, 6, 8), ([2, 2], [2, 2], [0, 0], [1, 1], False)),
        ((1, 2, 7, 7), ([3, 3], [2, 2], [1, 1], [1, 1], True)),
    ):
        x = draw(*shape)
        y, places = aten.max_pool2d_with_indices(x, *settings)
        made.append((draw(*y.shape), x, *settings, places))
    return made


WRITTEN: dict[str, Callable[[], list[Any]]] = {
    "aten._adaptive_avg_pool2d_backward.default": lambda: [(draw(2, 3, 3, 2), draw(2, 3, 7, 4)), (draw(1, 2, 1, 1), draw(1, 2, 5, 5))],
    "aten._embedding_bag.default": _bags,
    "aten._local_scalar_dense.default": lambda: [(lambda x, y: y * aten._local_scalar_dense(x), draw(1), draw(2, 3))],
    "aten._native_batch_norm_legit_no_training.default": lambda: [
        (draw(2, 3, 4), draw(3), draw(3), draw(3), draw(3).abs(), 0.1, 1e-3),
        (draw(2, 3, 4, 5), None, None, draw(3), draw(3).abs(), 0.1, 1e-5),
    ],
    "aten.adaptive_avg_pool1d.default": lambda: [(draw(2, 3, 7), [3]), (draw(2, 3, 8), [4]), (draw(3, 5), [1])],
    "aten.atan2.out": lambda: [(lambda x, y: torch.atan2(x, y, out=torch.empty_like(x)), draw(2, 3), draw(2, 3) + 1)],
    "aten.avg_pool1d.default": lambda: [(draw(2, 3, 8), [2]), (draw(2, 3, 9), [3], [2], [1], True, False), (draw(3, 7), [3], [1])],
    "aten.avg_pool2d_backward.default": _pooling_gradients,
    "aten.bitwise_and.Scalar": _scalars,
    "aten.bitwise_and.Tensor": _pairs,
    "aten.bitwise_not.default": lambda: [(x,) for x, _ in _pairs()],
    "aten.bitwise_or.Scalar": _scalars,
    "aten.bitwise_or.Tensor": _pairs,
    "aten.bitwise_xor.Scalar": _scalars,
    "aten.bitwise_xor.Tensor": _pairs,
    "aten.col2im.default": lambda: [
        (draw(2, 12, 12), [4, 5], [2, 2], [1, 1], [0, 0], [1, 1]),
        (draw(1, 12, 21), [6, 7], [2, 3], [1, 2], [1, 0], [1, 1]),
    ],
    "aten.convolution_backward.default": _convolution_gradients,
    "aten.copy.default": lambda: [
        (draw(2, 3), draw(2, 3)), (draw(2, 3), draw(3)), (draw(2, 3), draw(3, dtype=torch.int64)), (draw(3, dtype=torch.int64), draw(3) * 3),
    ],
    "aten.div.Scalar_mode": lambda: [
        (lambda x, n, mode: aten.div.Scalar_mode(x, n, rounding_mode=mode), x, n, mode)
        for x, n, mode in ((draw(2, 3), 0.7, "floor"), (draw(2, 3), -0.7, "trunc"), (draw(4, dtype=torch.int64), -2, "floor"), (draw(4), 3, None))
    ],
    "aten.embedding_dense_backward.default": lambda: [
        (draw(2, 3, 4), draw(2, 3, dtype=torch.int64), 6, 2, False), (draw(5, 4), draw(5, dtype=torch.int64), 5, -1, True),
    ],
    "aten.empty.memory_format": lambda: [(lambda x: aten.empty([2, 3]).fill_(2.5) + x, draw(3))],
    "aten.empty_strided.default": lambda: [(lambda x: aten.empty_strided([2, 3], [1, 2]).copy_(x), draw(3))],
    "aten.fmod.Scalar": lambda: [(draw(2, 3) * 4, 1.5), (draw(5, dtype=torch.int64), -3), (draw(4) * 4, -2)],
    "aten.max_pool2d_with_indices_backward.default": _maximum_gradients,
    "aten.native_group_norm_backward.default": _group_norm_gradients,
    "aten.native_layer_norm_backward.default": _layer_norm_gradients,
    "aten.resize_.default": lambda: [(lambda x: (x + 1).resize_(3, 2), draw(2, 3)), (lambda x: (x + 1).resize_(2, 2), draw(2, 3))],
    "aten.pow.Scalar": lambda: [(2, draw(2, 3)), (0.5, draw(3)), (3, draw(4, dtype=torch.int64)), (-1.5, draw(4, dtype=torch.int64))],
    "aten.sym_numel.default": lambda: [(lambda x: x * aten.sym_numel(x), draw(2, 3))],
    "aten.sym_size.int": lambda: [(lambda x: x.reshape(aten.sym_size(x, 0), -1) * aten.sym_size(x, 1), draw(2, 3, 4))],
    "aten.sym_storage_offset.default": lambda: [(lambda x: x + aten.sym_storage_offset(x[1:]), draw(2, 3))],
    "aten.sym_stride.int": lambda: [(lambda x: x + aten.sym_stride(x, 0), draw(2, 3))],
    "aten.upsample_bilinear2d.vec": lambda: [
        (draw(2, 3, 4, 5), [7, 9], False, None), (draw(2, 3, 4, 5), [8, 9], True, None), (draw(1, 2, 4, 5), None, False, [2.0, 1.5]),
    ],
    "aten.upsample_nearest2d.vec": lambda: [(draw(2, 3, 4, 5), [7, 9], None), (draw(1, 2, 4, 5), None, [2.0, 1.5])],
    "aten.var.dim": lambda: [(draw(2, 3, 4), [1]), (draw(2, 3, 4), [-1, 0], False, True), (draw(5), None, True)],
}  # fmt: skip
