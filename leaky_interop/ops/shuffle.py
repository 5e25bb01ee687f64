"""Operators that trade channels for space and back, and that interleave groups of channels.

A block is block x block places. Its numbers stand in the channels with the place in the block outermost or innermost:

| order            | channel index                   | keras              | torch          | onnx             |
|------------------|---------------------------------|--------------------|----------------|------------------|
| places outermost | (row * block + column) * C + c  | ops.depth_to_space | none           | DCR, the default |
| places innermost | (c * block + row) * block + column | none            | pixel_shuffle  | CRD              |
| places outermost | the same                        | ops.space_to_depth | none           | SpaceToDepth     |
| places innermost | the same                        | none               | pixel_unshuffle | none            |

The order that a framework does not have is its other one, with the channels shuffled; passes/shuffle.py puts the two
together again, and recognises what is written as reshape, transpose, reshape.
"""

from typing import Any

import numpy as np

from ..op import Moved, Op, Operand, Perm, Shape, Value, case, exports, imports, op, product


class Block(Op):
    """What both directions share."""

    block: int
    places_first: bool

    def wide(self, shape: Shape) -> Shape:
        """The data with the channels split: two axes of places in a block, before or after the channels proper."""
        batch, channels, height, width = shape
        inner = channels // self.block**2
        split = (self.block, self.block, inner) if self.places_first else (inner, self.block, self.block)
        return (batch, *split, height, width)


@op
class DepthToSpace(Block):
    """Channels to blocks of space. `places_first`: in the channel index, the place in the block is the slow part."""

    block: int
    places_first: bool
    tolerance = "exact"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        batch, channels, height, width = inputs[0].shape
        if isinstance(channels, int) and channels % self.block**2:
            raise ValueError(f"{self} does not divide the channels of {inputs[0]!r}")
        return [((batch, channels // self.block**2, height * self.block, width * self.block), inputs[0].dtype)]

    def order(self) -> Perm:
        """The transpose between the two reshapes: (N, C, H, row, W, column)."""
        return (0, 3, 4, 1, 5, 2) if self.places_first else (0, 1, 4, 2, 5, 3)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        batch, channels, height, width = x.shape
        turned = x.reshape(self.wide(x.shape)).transpose(self.order())
        return turned.reshape(batch, channels // self.block**2, height * self.block, width * self.block)


@op
class SpaceToDepth(Block):
    """Blocks of space to channels: what DepthToSpace undoes."""

    block: int
    places_first: bool
    tolerance = "exact"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        batch, channels, height, width = inputs[0].shape
        if any(isinstance(n, int) and n % self.block for n in (height, width)):
            raise ValueError(f"{self} does not divide the sizes of {inputs[0]!r}")
        return [((batch, channels * self.block**2, height // self.block, width // self.block), inputs[0].dtype)]

    def split(self, shape: Shape) -> Shape:
        """The data with rows and columns split in blocks: (N, C, H, row, W, column)."""
        batch, channels, height, width = shape
        return (batch, channels, height // self.block, self.block, width // self.block, self.block)

    def order(self) -> Perm:
        """The transpose between the two reshapes."""
        return (0, 3, 5, 1, 2, 4) if self.places_first else (0, 1, 3, 5, 2, 4)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        batch, channels, height, width = x.shape
        turned = x.reshape(self.split(x.shape)).transpose(self.order())
        return turned.reshape(batch, channels * self.block**2, height // self.block, width // self.block)


@op
class ChannelShuffle(Op):
    """Groups along an axis interleaved: entry g * n + i goes to place i * groups + g."""

    groups: int
    axis: int
    tolerance = "exact"

    def index(self, size: int) -> np.ndarray:
        """Which entry each place takes."""
        return np.arange(size).reshape(self.groups, -1).T.reshape(-1)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return arrays[0].take(self.index(arrays[0].shape[self.axis]), self.axis)

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(ChannelShuffle(groups=self.groups, axis=perm[self.axis]), (perm,), (perm,))


# --- importing --------------------------------------------------------------------------------------------------------


def on_images(x: Value, kind: type[Block], block: int, places_first: bool) -> Value:
    """The operator on data of rank 4: torch takes any number of axes before the channels."""
    if block == 1:
        return x
    before, channels = x.shape[:-3], x.shape[-3] if kind is SpaceToDepth else x.shape[-3] // block**2
    op = kind(block=block, places_first=places_first and channels != 1)  # of one channel both orders are the same
    y = op(x.reshape(product(before), *x.shape[-3:]))
    return y.reshape(*before, *y.shape[-3:])


@imports("torch", "aten.pixel_shuffle.default")
def pixel_shuffle_from_torch(call, x, factor):
    return on_images(x, DepthToSpace, factor, places_first=False)


@imports("torch", "aten.pixel_unshuffle.default")
def pixel_unshuffle_from_torch(call, x, factor):
    return on_images(x, SpaceToDepth, factor, places_first=False)


@imports("torch", "aten.channel_shuffle.default", "aten.native_channel_shuffle.default")
def channel_shuffle_from_torch(call, x, groups):
    return ChannelShuffle(groups=groups, axis=1)(x)


@imports("keras", "ops.DepthToSpace", channels_last=True)
def depth_to_space_from_keras(call, x):
    return on_images(x, DepthToSpace, call.block_size, keras_order(call))


@imports("keras", "ops.SpaceToDepth", channels_last=True)
def space_to_depth_from_keras(call, x):
    return on_images(x, SpaceToDepth, call.block_size, keras_order(call))


def keras_order(call: Any) -> bool:
    """Places outermost, as TensorFlow has it; of channels-first data the other backends put them innermost."""
    return call.data_format != "channels_first" or call.backend == "tensorflow"


@imports("onnx", "DepthToSpace")
def depth_to_space_from_onnx(node, x):
    return on_images(x, DepthToSpace, node.blocksize, not node.has("mode") or node.mode == "DCR")


@imports("onnx", "SpaceToDepth")
def space_to_depth_from_onnx(node, x):
    return on_images(x, SpaceToDepth, node.blocksize, not node.has("mode") or node.mode == "DCR")


# --- exporting --------------------------------------------------------------------------------------------------------


@exports("torch", ChannelShuffle)
def channel_shuffle_to_torch(op, torch, x):
    if op.axis == 1 and torch.inputs[0].rank > 2:
        return torch.place(torch.nn.ChannelShuffle(op.groups))(x)
    return torch.index_select(x, op.axis, torch.tensor(torch.graph.constant(op.index(torch.inputs[0].shape[op.axis]))))


@exports("keras", ChannelShuffle)
def channel_shuffle_to_keras(op, keras, x):
    return keras.ops.take(x, op.index(keras.inputs[0].shape[op.axis]).astype(np.int32), axis=op.axis)


@exports("onnx", ChannelShuffle)
def channel_shuffle_to_onnx(op, onnx, x):
    return onnx.Gather(x, op.index(onnx.inputs[0].shape[op.axis]), axis=op.axis)


@exports("torch", DepthToSpace)
def depth_to_space_to_torch(op, torch, x):
    if op.places_first:
        x = torch.nn.functional.channel_shuffle(x, op.block**2)
    return torch.place(torch.nn.PixelShuffle(op.block))(x)


@exports("torch", SpaceToDepth)
def space_to_depth_to_torch(op, torch, x):
    y = torch.place(torch.nn.PixelUnshuffle(op.block))(x)
    return torch.nn.functional.channel_shuffle(y, torch.inputs[0].shape[1]) if op.places_first else y


@exports("keras", DepthToSpace, channels_last=True)
def depth_to_space_to_keras(op, keras, x):
    batch, channels, height, width = keras.inputs[0].shape
    inner = channels // op.block**2
    if not op.places_first:
        x = keras.ops.take(x, reordered(inner, channels), axis=-1)
    if hasattr(keras.ops, "depth_to_space"):  # from Keras 3.14 on
        return keras.ops.depth_to_space(x, op.block, "channels_last")
    split = keras.static_shape((batch, height, width, op.block, op.block, inner))
    y = keras.ops.transpose(keras.ops.reshape(x, split), (0, 1, 3, 2, 4, 5))
    return keras.ops.reshape(y, keras.static_shape((batch, height * op.block, width * op.block, inner)))


@exports("keras", SpaceToDepth, channels_last=True)
def space_to_depth_to_keras(op, keras, x):
    batch, channels, height, width = keras.inputs[0].shape
    if hasattr(keras.ops, "space_to_depth"):
        y = keras.ops.space_to_depth(x, op.block, "channels_last")
    else:
        rows, columns = height // op.block, width // op.block
        split = keras.static_shape((batch, rows, op.block, columns, op.block, channels))
        y = keras.ops.transpose(keras.ops.reshape(x, split), (0, 1, 3, 2, 4, 5))
        y = keras.ops.reshape(y, keras.static_shape((batch, rows, columns, channels * op.block**2)))
    return y if op.places_first else keras.ops.take(y, reordered(op.block**2, channels * op.block**2), axis=-1)


def reordered(groups: int, channels: int) -> np.ndarray:
    """The channels with `groups` groups of them interleaved."""
    return ChannelShuffle(groups=groups, axis=0).index(channels).astype(np.int32)


def _moved(op: Block, onnx: Any, parts: Any) -> Any:
    """Two reshapes and a transpose, where onnxruntime has no kernel: it has few for integers."""
    (result,) = onnx.outputs
    return onnx.composed(lambda x: [x.reshape(*parts(x.shape)).transpose(*op.order()).reshape(*result.shape)])[0]


@exports("onnx", DepthToSpace)
def depth_to_space_to_onnx(op, onnx, x):
    if not onnx.runs("DepthToSpace"):
        return _moved(op, onnx, op.wide)
    return onnx.DepthToSpace(x, blocksize=op.block, mode="DCR" if op.places_first else "CRD")


@exports("onnx", SpaceToDepth)
def space_to_depth_to_onnx(op, onnx, x):
    if not onnx.runs("SpaceToDepth"):
        return _moved(op, onnx, op.split)
    y, channels = onnx.SpaceToDepth(x, blocksize=op.block), onnx.inputs[0].shape[1] * op.block**2
    return y if op.places_first else onnx.Gather(y, reordered(op.block**2, channels), axis=1)


for _first in (False, True):
    _order = "outermost" if _first else "innermost"
    case(f"depth_to_space/places_{_order}", DepthToSpace(block=2, places_first=_first), (2, 12, 3, 4))
    case(f"depth_to_space/block=3_places_{_order}", DepthToSpace(block=3, places_first=_first), (1, 18, 2, 3))
    case(f"space_to_depth/places_{_order}", SpaceToDepth(block=2, places_first=_first), (2, 3, 4, 6))
    case(f"space_to_depth/block=3_places_{_order}", SpaceToDepth(block=3, places_first=_first), (1, 2, 6, 3))
case("depth_to_space/float16", DepthToSpace(block=2, places_first=True), Operand((2, 12, 3, 4), dtype="float16"))
case("channel_shuffle/images", ChannelShuffle(groups=3, axis=1), (2, 12, 3, 4))
case("channel_shuffle/last_axis", ChannelShuffle(groups=2, axis=2), (2, 3, 10))
case("channel_shuffle/vectors", ChannelShuffle(groups=3, axis=1), (2, 6))
for _dtype in ("bool", "int32"):
    _whole = Operand((2, 8, 2, 3), dtype=_dtype, numbers=np.arange(96).reshape(2, 8, 2, 3))
    case(f"depth_to_space/{_dtype}", DepthToSpace(block=2, places_first=True), _whole, composed={"onnx": "two reshapes and a transpose"})
