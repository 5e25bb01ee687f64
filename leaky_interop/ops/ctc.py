"""Connectionist temporal classification of Keras: its loss, and the best path.

| keras.ops  | meaning                                                                                          |
|------------|--------------------------------------------------------------------------------------------------|
| ctc_loss   | -log of the probability of all paths that spell the target, entry by entry                       |
| ctc_decode | greedy: the likeliest class of each step, repeats and blanks left out, -1 behind; and a score    |

A path has a class at every step; blanks, and repeats of one class, spell nothing. The loss walks along the steps with the
logarithms of the probabilities of being at each place of the target, blanks between its entries.
"""

from typing import Any

from ..errors import Refused
from ..op import imports

NEVER = -1e30  # the logarithm of a probability of 0 that differences stay finite with


@imports("keras", "ops.CTCLoss")
def ctc_loss_from_keras(call, target, output, target_length, output_length):
    blank = call.mask_index
    if call.backend == "tensorflow":
        call.graph.notes.append(
            f"keras {call.name!r}: of a target that no path spells the loss is infinite; TensorFlow's is a number above 700"
        )

    def code(ops: Any, target: Any, output: Any, target_length: Any, output_length: Any) -> Any:
        wanted = "float64" if output.dtype == "float64" else "float32"
        output = ops.cast(output, "float32" if call.backend == "tensorflow" else wanted)
        target, target_length, output_length = (ops.cast(v, "int32") for v in (target, target_length, output_length))
        scores = ops.log_softmax(output)
        places = 2 * target.shape[1] + 1
        between = ops.full_like(target, blank)
        spelled = ops.reshape(ops.stack([between, target], -1), (-1, places - 1))
        spelled = ops.concatenate(
            [spelled, ops.full_like(spelled[:, :1], blank)], 1
        )  # blank, entry, blank, entry, blank
        chosen = ops.take_along_axis(scores, ops.repeat(ops.expand_dims(spelled, 1), output.shape[1], 1), 2)
        before = ops.concatenate([spelled[:, :1] * 0 + blank, spelled[:, :1] * 0 + blank, spelled[:, :-2]], 1)
        skips = ops.logical_and(
            ops.not_equal(spelled, blank), ops.not_equal(spelled, before)
        )  # from the entry before, past the blank
        first = ops.where(ops.arange(places) < 2, chosen[:, 0], NEVER)

        def step(state: Any, at: Any) -> Any:
            moved, never = at["chosen"], ops.full_like(state[:, :1], NEVER)
            one = ops.concatenate([never, state[:, :-1]], 1)
            two = ops.where(skips, ops.concatenate([never, never, state[:, :-2]], 1), NEVER)
            after = ops.logsumexp(ops.stack([state, one, two]), 0) + moved
            after = ops.maximum(after, NEVER)
            kept = ops.where(ops.expand_dims(at["step"] < output_length, 1), after, state)
            return kept, kept

        steps = ops.arange(1, output.shape[1], dtype="int32")
        last, _ = ops.scan(step, first, {"chosen": ops.moveaxis(chosen[:, 1:], 1, 0), "step": steps})
        end = ops.expand_dims(2 * target_length, 1)
        at_end = ops.take_along_axis(last, end, 1)
        before_end = ops.where(end > 0, ops.take_along_axis(last, ops.maximum(end - 1, 0), 1), NEVER)
        total = ops.logsumexp(ops.concatenate([at_end, before_end], 1), 1)
        return ops.cast(ops.where(total < NEVER / 2, float("inf"), -total), wanted)

    return call.written(code, target, output, target_length, output_length)


@imports("keras", "ops.CTCDecode")
def ctc_decode_from_keras(call, inputs, sequence_lengths):
    if call.strategy != "greedy":
        raise Refused(
            f"ctc_decode with strategy={call.strategy!r}", why="a search that keeps and sorts paths as it goes is no operator of a network",
            hint="Use strategy='greedy', or decode outside of the network",
        )  # fmt: skip

    def code(ops: Any, inputs: Any, lengths: Any) -> Any:
        inputs = inputs if inputs.dtype == "float64" else ops.cast(inputs, "float32")
        steps, classes = inputs.shape[1:]
        blank = classes - 1 if call.mask_index is None else call.mask_index
        past = ops.greater_equal(ops.expand_dims(ops.arange(steps, dtype="int32"), 0), ops.expand_dims(ops.cast(lengths, "int32"), 1))
        found = ops.where(past, blank, ops.cast(ops.argmax(inputs, -1), "int32"))
        scores = ops.where(past, 0.0, ops.max(inputs, -1))
        empty = ops.equal(found, blank)
        if call.merge_repeated:
            again = ops.pad(ops.equal(found[:, 1:], found[:, :-1]), ((0, 0), (1, 0)))
            empty = ops.logical_or(empty, again)
        place = ops.where(empty, steps, ops.expand_dims(ops.arange(steps, dtype="int32"), 0))
        order = ops.argsort(place, -1)
        spelled = ops.take_along_axis(ops.where(empty, -1, found), order, -1)
        return ops.expand_dims(spelled, 0), -ops.sum(scores, 1, keepdims=True)

    return call.written(code, inputs, sequence_lengths)
