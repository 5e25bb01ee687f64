"""Sums of products named by letters.

| meaning | keras                  | torch  | onnx   |
|---------|------------------------|--------|--------|
| Einsum  | ops.einsum             | einsum | Einsum |
| Dense   | EinsumDense, ops.einsum with a weight | einsum with a weight | Einsum with a weight |

A canonical equation has its result written out, no dots, and letters in the order in which they appear. A plain matrix
product is MatMul, and a product with a weight that shares no axis but those summed over is Dense.
"""

import math
import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Link, Moved, Op, Perm, Shape, Value, agree, case, exports, imports, invert, op, product
from .dense import Dense
from .math import Add
from .matmul import MatMul
from .picking import diagonal
from .promotion import as_value, in_one_dtype, in_stated_dtype
from .reduce import ReduceSum, reduced
from .shape import without
from .table import widened


@op
class Einsum(Op):
    """For each place of the result, the sum over all other letters of the product of the operands."""

    equation: str
    tolerance = "sum"

    @property
    def terms_of(self) -> tuple[list[str], str]:
        """The letters of the operands, and those of the result."""
        left, result = self.equation.split("->")
        return left.split(","), result

    def sizes(self, shapes: Sequence[Shape]) -> dict[str, Any]:
        """The size that each letter stands for."""
        return {
            letter: d
            for term, shape in zip(self.terms_of[0], shapes, strict=True)
            for letter, d in zip(term, shape, strict=True)
        }

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        sizes = self.sizes([v.shape for v in inputs])
        for term, v in zip(self.terms_of[0], inputs, strict=True):
            if not all(agree(sizes[letter], d) for letter, d in zip(term, v.shape, strict=True)):
                raise ValueError(f"{self} does not fit {v!r}")
        return [(tuple(sizes[letter] for letter in self.terms_of[1]), inputs[0].dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(self._product, *arrays)

    def _product(self, *arrays: np.ndarray) -> np.ndarray:
        terms, result = self.terms_of
        if len(terms) != 2 or any(len(set(t)) < len(t) for t in terms) or (set(terms[0]) ^ set(terms[1])) - set(result):
            return np.einsum(self.equation, *arrays, optimize=True)
        (a, b), (x, y) = terms, arrays
        both = [c for c in a if c in b and c in result]
        summed = [c for c in a if c in b and c not in result]
        rows, columns = [c for c in a if c not in b], [c for c in b if c not in a]
        sizes = self.sizes([x.shape, y.shape])
        group = [math.prod(sizes[c] for c in letters) for letters in (both, rows, summed, columns)]
        x = x.transpose([a.index(c) for c in (*both, *rows, *summed)]).reshape(group[0], group[1], group[2])
        y = y.transpose([b.index(c) for c in (*both, *summed, *columns)]).reshape(group[0], group[2], group[3])
        made = (*both, *rows, *columns)
        return np.matmul(x, y).reshape([sizes[c] for c in made]).transpose([made.index(c) for c in result])

    def length(self, *arrays: np.ndarray) -> int:
        sizes = self.sizes([a.shape for a in arrays])
        return math.prod(d for letter, d in sizes.items() if letter not in self.terms_of[1])

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        """Only letters move: whichever operand arrives permuted, its term does too."""
        terms, result = self.terms_of
        moving = [i for i, v in enumerate(inputs) if v.rank == len(perm) and v.const is None]
        back = invert(perm)
        terms = ["".join(t[b] for b in back) if i in moving else t for i, t in enumerate(terms)]
        perms = tuple(perm if i in moving else None for i in range(len(terms)))
        out = perm if len(result) == len(perm) else tuple(range(len(result)))
        result = "".join(result[b] for b in invert(out))
        return Moved(Einsum(equation=renamed(terms, result)), perms, (out,))

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        terms, result = self.terms_of
        letters = dict.fromkeys("".join(terms))
        return [
            Link({i: t.index(c) for i, t in enumerate(terms) if c in t}, result.index(c) if c in result else None)
            for c in letters
        ]


def renamed(terms: Sequence[str], result: str) -> str:
    """The equation with its letters in the order in which they appear."""
    names = dict(zip(dict.fromkeys("".join(terms)), string.ascii_letters, strict=False))
    return f"{','.join(''.join(names[c] for c in t) for t in terms)}->{''.join(names[c] for c in result)}"


def einsum(call: Any, equation: str, operands: Sequence[Any]) -> Value:
    """An equation as frameworks take it: dots, an implicit result, sizes of 1 that broadcast, repeated letters."""
    values = in_one_dtype(call, *operands)
    terms, result = spelled_out(equation, [v.rank for v in values])
    for i, term in enumerate(terms):
        while repeated := next((c for c in term if term.count(c) > 1), None):
            first, second = term.index(repeated), term.rindex(repeated)
            values[i] = diagonal(values[i], 0, first, second)
            term = "".join(c for c in term if c != repeated) + repeated * (term.count(repeated) - 1)
        full = {c for j, t in enumerate(terms) for c, d in zip(t, values[j].shape, strict=False) if j != i and d != 1}
        ones = [a for a, (c, d) in enumerate(zip(term, values[i].shape, strict=True)) if d == 1 and c in full]
        values[i] = without(values[i], ones) if ones else values[i]
        terms[i] = "".join(c for a, c in enumerate(term) if a not in ones)
    if len(terms) == 1:
        gone = [c for c in terms[0] if c not in result]
        x = reduced(ReduceSum, values[0], [terms[0].index(c) for c in gone], False) if gone else values[0]
        left = [c for c in terms[0] if c in result]
        return x.transpose(*(left.index(c) for c in result))
    if len(terms) == 2 and (made := as_dense(call, terms, result, values)) is not None:
        return made
    made = renamed(terms, result)
    if len(result) > 1:
        batch, (i, j, k) = string.ascii_letters[: len(result) - 2], string.ascii_letters[len(result) - 2 :][:3]
        if made == f"{batch}{i}{j},{batch}{j}{k}->{batch}{i}{k}":
            return MatMul()(*values)
    return Einsum(equation=made)(*values)


def spelled_out(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The letters of every operand and of the result; dots become letters that the equation does not use."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise Refused(f"einsum {equation!r} of {len(ranks)} operands", why=f"it names {len(terms)}")
    spare = [c for c in string.ascii_letters[::-1] if c not in equation]
    hidden = [rank - len(t.replace("...", "")) if "..." in t else 0 for t, rank in zip(terms, ranks, strict=True)]
    dots = "".join(reversed(spare[: max(hidden)]))
    terms = [t.replace("...", dots[len(dots) - n :]) for t, n in zip(terms, hidden, strict=True)]
    if not arrow:
        counted = "".join(terms)
        result = "..." * bool(dots) + "".join(
            sorted(c for c in set(counted) if counted.count(c) == 1 and c not in dots)
        )
    return terms, result.replace("...", dots)


def as_dense(call: Any, terms: Sequence[str], result: str, values: Sequence[Value]) -> Value | None:
    """A product with a weight as a Dense, its kernel a view of the weight; None where it is no such product."""
    for x, w in ((0, 1), (1, 0)):
        weight, term, data = values[w], terms[w], terms[x]
        if weight.const is None or not weight.const.name or (values[x].const is not None and values[x].const.name):
            continue
        summed = [c for c in data if c in term]
        kept, made = [c for c in data if c not in term], [c for c in term if c not in data]
        if not summed or set(summed) & set(result) or sorted(kept + made) != sorted(result):
            continue
        size = product(weight.shape[term.index(c)] for c in summed)
        order = [term.index(c) for c in (*made, *summed)]
        kernel = weight.transpose(*order).reshape(product(weight.shape[term.index(c)] for c in made), size)
        y = values[x].transpose(*(data.index(c) for c in (*kept, *summed)))
        y = Dense()(y.reshape(*y.shape[: len(kept)], size), kernel, None)
        y = y.reshape(*y.shape[:-1], *(weight.shape[term.index(c)] for c in made))
        return y.transpose(*((*kept, *made).index(c) for c in result))
    return None


@imports("torch", "aten.einsum.default")
def einsum_from_torch(call, equation, operands, path):
    return einsum(call, equation, operands)


@imports("torch", "aten.bilinear.default")
def bilinear_from_torch(call, x, y, weight, bias):
    z = einsum(call, "...i,oij,...j->...o", [x, weight, y])
    return z if bias is None else Add()(z, bias)


@imports("keras", "ops.Einsum")
def einsum_from_keras(call, *operands):
    if "->" not in call.subscripts and "..." in call.subscripts and call.backend == "tensorflow":
        raise Refused(
            f"the einsum {call.subscripts!r}", why="TensorFlow orders an unstated result otherwise than numpy", hint="State it behind ->"
        )
    return einsum(call, call.subscripts, in_stated_dtype(call, *(as_value(call, o) for o in operands)))


@imports("keras", "EinsumDense")
def einsum_dense_from_keras(layer, x):
    y = einsum(layer, layer.equation, [x, layer.weight("kernel")])
    bias = layer.weight("bias")
    return layer.activate(y if bias is None else Add()(y, bias))


@imports("onnx", "Einsum")
def einsum_from_onnx(node, *operands):
    return einsum(node, node.equation, operands)


@exports("torch", Einsum)
def einsum_to_torch(op, torch, *operands):
    return torch.einsum(op.equation, *operands)


@exports("keras", Einsum)
def einsum_to_keras(op, keras, *operands):
    if keras.outputs[0].dtype.kind in "iu":
        raise keras.refuse(
            f"Einsum in {keras.outputs[0].dtype}",
            why="Keras multiplies integers in float32 on the tensorflow backend",
            instead="Cast the operands to a floating dtype, or write it as products and sums",
        )
    return keras.ops.einsum(op.equation, *operands)


@exports("onnx", Einsum)
def einsum_to_onnx(op, onnx, *operands):
    return onnx.Einsum(*operands, equation=op.equation)


case("einsum/attention_scores", Einsum(equation="abcd,aecd->acbe"), (2, 3, 4, 5), (2, 6, 4, 5))
case("einsum/trailing_batch", Einsum(equation="abc,dbc->adc"), (2, 3, 4), (5, 3, 4))
case("einsum/three", Einsum(equation="ab,bc,cd->ad"), (2, 3), (3, 4), (4, 5))
