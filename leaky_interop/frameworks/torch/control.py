"""Branches, loops, lists and text as PyTorch modules: branches and loops run the graphs that they hold.

What is done to a list or to text, or asks whether a value is None, is a module because fx cannot trace it. Text stands in
numpy's object arrays of str: torch has no tensors of it.

This text imports nothing of the package that it comes from: a pickled module takes it along, and written source holds it.
"""

import re
from pathlib import Path

import numpy as np
import torch
from torch import nn

SOURCE = globals().get("SOURCE") or Path(__file__).read_text(encoding="utf-8")


def fresh(tensor):
    """The numbers in memory of their own, in order: torch.export wants that of what its branches and loops give."""
    return tensor.clone(memory_format=torch.contiguous_format)


class If(nn.Module):
    """The results of one of two modules."""

    def __init__(self, then, other):
        super().__init__()
        self.then = then
        self.other = other

    def forward(self, condition, *captured):
        if torch.compiler.is_exporting():  # what torch.cond gives may not be what it was given
            branches = [lambda *xs, m=m: tuple(map(fresh, m(*xs))) for m in (self.then, self.other)]
            results = torch.cond(condition, *branches, captured)
        else:
            results = self.then(*captured) if condition else self.other(*captured)
        return results[0] if len(results) == 1 else tuple(results)


class Loop(nn.Module):
    """A module run again and again: `carried` values go round, what else it gives is stacked.

    empty: shape and dtype of what each round gives, for a loop of no rounds.
    """

    def __init__(self, body, carried, endless, empty):
        super().__init__()
        self.body = body
        self.carried = carried
        self.endless = endless  # no condition ends it
        self.empty = empty

    def extra_repr(self):
        return f"carried={self.carried}, endless={self.endless}, empty={self.empty}"

    def forward(self, rounds, going, *values):
        carried, captured = values[: self.carried], values[self.carried :]
        place = next((v.device for v in values if isinstance(v, torch.Tensor)), None)
        if not isinstance(going, torch.Tensor):
            going = torch.full((), going, device=place)  # no stored tensor: torch.export saves none of a body's
        if torch.compiler.is_exporting() and not self.empty and not (self.endless and isinstance(rounds, int)):
            results = self.exported(rounds, going, carried, captured)
            return results[0] if len(results) == 1 else results
        rows = [[] for _ in self.empty]
        step = 0
        while step < rounds and ((self.endless and step) or going):
            going, *results = self.body(torch.full((), step, device=place), going, *carried, *captured)
            carried = results[: self.carried]
            for row, result in zip(rows, results[self.carried :], strict=True):
                row.append(result)
            step += 1
        stacks = [
            torch.stack(row) if row else torch.zeros((0, *shape), dtype=dtype, device=place)
            for row, (shape, dtype) in zip(rows, self.empty, strict=True)
        ]
        results = (*carried, *stacks)
        return results[0] if len(results) == 1 else results

    def exported(self, rounds, going, carried, captured):
        """As torch.export records a loop whose rounds only a run tells; what it gives may not be what it was given."""
        from torch._higher_order_ops import while_loop

        def turn(step, going, *carried):
            return (step + 1, *map(fresh, self.body(step, going, *carried, *captured)))

        first = torch.zeros((), dtype=torch.int64, device=going.device)
        _, _, *results = while_loop(lambda step, going, *_: going & (step < rounds), turn, (first, fresh(going), *map(fresh, carried)))
        return tuple(results)


class Scan(nn.Module):
    """A module run at each place along an axis of its lists, states going along; what else it gives is stacked.

    axes, result_axes: of each list and each stacked result, the axis and whether it is walked backwards. empty: as for
    `Loop`.
    """

    def __init__(self, body, states, axes, result_axes, empty):
        super().__init__()
        self.body = body
        self.states = states
        self.axes = axes
        self.result_axes = result_axes
        self.empty = empty

    def extra_repr(self):
        return f"states={self.states}, axes={self.axes}, result_axes={self.result_axes}, empty={self.empty}"

    def forward(self, *values):
        end = self.states + len(self.axes)
        states, lists, captured = values[: self.states], values[self.states : end], values[end:]
        count = lists[0].shape[self.axes[0][0]]
        if torch.compiler.is_exporting() and isinstance(count, torch.SymInt):
            results = self.exported(states, lists, captured)
            return results[0] if len(results) == 1 else results
        rows = [[] for _ in self.empty]
        for step in range(count):
            walked = zip(lists, self.axes, strict=True)
            places = [x.select(axis, count - 1 - step if back else step) for x, (axis, back) in walked]
            results = self.body(*states, *places, *captured)
            states = results[: self.states]
            for row, result in zip(rows, results[self.states :], strict=True):
                row.append(result)
        stacks = []
        for row, (axis, back), (shape, dtype) in zip(rows, self.result_axes, self.empty, strict=True):
            none = torch.zeros((*shape[:axis], 0, *shape[axis:]), dtype=dtype, device=lists[0].device)
            stacks.append(torch.stack(row[::-1] if back else row, axis) if row else none)
        results = (*states, *stacks)
        return results[0] if len(results) == 1 else results

    def exported(self, states, lists, captured):
        """As torch.export records a walk along an open size; it wants a state, and gives nothing that it was given."""
        from torch._higher_order_ops import scan

        count = len(states)
        walked = zip(lists, self.axes, strict=True)
        lists = [x.movedim(axis, 0).flip(0) if back else x.movedim(axis, 0) for x, (axis, back) in walked]

        def step(states, places):
            results = self.body(*states[:count], *places, *captured)
            results = [fresh(r) for r in ((results,) if isinstance(results, torch.Tensor) else results)]
            return [*results[:count], *map(fresh, states[count:])], results[count:]

        start = [fresh(s) for s in states] or [torch.zeros((), device=lists[0].device)]
        states, rows = scan(step, start, lists)
        walked = zip(rows, self.result_axes, strict=True)
        stacks = [(row.flip(0) if back else row).movedim(0, axis) for row, (axis, back) in walked]
        return (*states[:count], *stacks)


class SequenceLength(nn.Module):
    """How many members a list has."""

    def forward(self, sequence):
        return torch.tensor(len(sequence))


class SequenceErase(nn.Module):
    """A list without the member at a position."""

    def forward(self, sequence, position):
        kept = list(sequence)
        del kept[int(position)]
        return kept


class SplitToSequence(nn.Module):
    """Pieces along an axis, of these sizes or all of this one, as a list."""

    def __init__(self, axis):
        super().__init__()
        self.axis = axis

    def extra_repr(self):
        return f"axis={self.axis}"

    def forward(self, x, sizes):
        return list(x.split(sizes.tolist(), self.axis))


class OptionalHasElement(nn.Module):
    """Whether a value is there."""

    def forward(self, value):
        return torch.tensor(value is not None)


class Text(nn.Module):
    """Constant text."""

    def __init__(self, texts, shape):
        super().__init__()
        self.texts = texts
        self.shape = shape

    def extra_repr(self):
        return f"texts={self.texts}, shape={self.shape}"

    def forward(self):
        return np.array(self.texts, object).reshape(self.shape)


class OnText(nn.Module):
    """What moves, chooses or compares numbers, done to texts: `body` receives the place of each in a sorted list of all.

    texts: which results are texts again.
    """

    def __init__(self, body, texts):
        super().__init__()
        self.body = body
        self.texts = texts

    def extra_repr(self):
        return f"texts={self.texts}"

    def forward(self, *values):
        given = [v for v in values if isinstance(v, np.ndarray)]
        known, places = np.unique(np.concatenate([v.reshape(-1) for v in given]), return_inverse=True)
        parts = iter(np.split(places.reshape(-1), np.cumsum([v.size for v in given])[:-1]))
        values = [torch.from_numpy(next(parts).reshape(v.shape)) if isinstance(v, np.ndarray) else v for v in values]
        results = self.body(*values)
        results = (results,) if len(self.texts) == 1 else results
        results = [np.asarray(known[r.numpy()], object) if text else r for r, text in zip(results, self.texts, strict=True)]
        return results[0] if len(results) == 1 else tuple(results)


class ToText(nn.Module):
    """Numbers as text, of floats eight digits."""

    def forward(self, x):
        texts = np.empty(x.numel(), object)
        for i, number in enumerate(x.reshape(-1).tolist()):
            if isinstance(number, float):
                texts[i] = "NaN" if number != number else f"{number:.8g}".replace("inf", "INF")
            else:
                texts[i] = str(int(number))
        return texts.reshape(x.shape)


class FromText(nn.Module):
    """Text as numbers of this dtype."""

    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype

    def extra_repr(self):
        return f"dtype={self.dtype}"

    def forward(self, x):
        read = float if self.dtype.is_floating_point else int
        numbers = torch.tensor([read(text) for text in x.flat], dtype=torch.float64 if read is float else torch.int64)
        return numbers.to(self.dtype).reshape(x.shape)


class StringConcat(nn.Module):
    """One text followed by the other."""

    def forward(self, x, y):
        return np.asarray(x + y, object)


class StringSplit(nn.Module):
    """The parts of each text, filled up with empty ones, and how many there are. `most`: how often to split, -1 for any."""

    def __init__(self, delimiter, most):
        super().__init__()
        self.delimiter = delimiter
        self.most = most

    def extra_repr(self):
        return f"delimiter={self.delimiter!r}, most={self.most}"

    def forward(self, x):
        parts = [text.split(self.delimiter, self.most) if text else [] for text in x.flat]
        width = max(map(len, parts), default=0)
        rows = np.full((len(parts), width), "", object)
        for row, texts in zip(rows, parts, strict=True):
            row[: len(texts)] = texts
        return rows.reshape(*x.shape, width), torch.tensor([len(p) for p in parts], dtype=torch.int64).reshape(x.shape)


class StringNormalizer(nn.Module):
    """The texts of a row that are no stop words, in this case ("LOWER", "UPPER", "NONE"); one empty text where none is left.

    Every character becomes one character, as in C; `ascii`: no other than those of ASCII.
    """

    def __init__(self, case, case_sensitive, stop_words, ascii):
        super().__init__()
        self.case = case
        self.case_sensitive = case_sensitive
        self.stop_words = stop_words
        self.ascii = ascii

    def extra_repr(self):
        return f"case={self.case!r}, case_sensitive={self.case_sensitive}, stop_words={self.stop_words}, ascii={self.ascii}"

    def changed(self, text, case):
        if case == "NONE":
            return text
        if case == "LOWER":
            return "".join(c if self.ascii and not c.isascii() else c.lower()[0] for c in text)
        upper = lambda c: next((u for u in (c.upper(), c.title()) if len(u) == 1), c)  # noqa: E731
        return "".join(c if self.ascii and not c.isascii() else upper(c) for c in text)

    def forward(self, x):
        fold = "NONE" if self.case_sensitive else "UPPER" if self.case == "UPPER" else "LOWER"
        stopped = {self.changed(word, fold) for word in self.stop_words}
        left = [self.changed(text, self.case) for text in x.flat if self.changed(text, fold) not in stopped] or [""]
        return np.array(left, object).reshape(*x.shape[:-1], len(left))


class RegexFullMatch(nn.Module):
    """Whether a pattern matches each text from end to end."""

    def __init__(self, pattern):
        super().__init__()
        self.pattern = pattern

    def extra_repr(self):
        return f"pattern={self.pattern!r}"

    def forward(self, x):
        pattern = re.compile(self.pattern, re.ASCII)
        found = [pattern.fullmatch(text) is not None for text in x.flat]
        return torch.tensor(found, dtype=torch.bool).reshape(x.shape)


TEXTS = (Text, OnText, ToText, FromText, StringConcat, StringSplit, StringNormalizer, RegexFullMatch)
KINDS = (If, Loop, Scan, SequenceLength, SequenceErase, SplitToSequence, OptionalHasElement, *TEXTS)


def _reduced(module):
    """How a module is pickled: with this text, so that it is read where this file is not."""
    made = "exec(SOURCE, scope := {'SOURCE': SOURCE, '__name__': 'control'}) or scope[KIND].__new__(scope[KIND])"
    return eval, (made, {"SOURCE": SOURCE, "KIND": type(module).__name__}), module.__dict__


for kind in KINDS:
    kind.__reduce__ = _reduced
