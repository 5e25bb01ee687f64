"""Images under small fixed kernels, and how much two images differ.

| keras.ops             | meaning                                                             | beyond the border           |
|-----------------------|---------------------------------------------------------------------|-----------------------------|
| image.gaussian_blur   | the mean under a bell of standard deviations `sigma`                | zeros                       |
| image.sobel_edges     | differences down and across, each smoothed along the other (1 2 1)  | TensorFlow: mirrored, torch: zeros |
| psnr                  | 20 log10(max_val) - 10 log10(mean squared difference)               |                             |

A bell of even width: TensorFlow keeps the image's size, torch adds half the width at each end and so one row.
"""

from typing import Any

import numpy as np

from ..op import imports

DOWN = np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]])


def bell(size: tuple[int, int], sigma: tuple[float, float]) -> np.ndarray:
    """A Gaussian kernel, which Keras gives its own widths back to front: the first sigma goes with the second axis."""
    places = [np.arange(n) - (n - 1) / 2 for n in size]
    across, down = (np.exp(-0.5 * (x / s) ** 2) for x, s in zip(places, sigma, strict=True))
    return np.outer(down / down.sum(), across / across.sum()).reshape(size)


def filtered(ops: Any, x: Any, kernels: list[np.ndarray], channels: int, first: bool, padding: str) -> Any:
    """Each channel under each kernel; the results of one channel stand side by side."""
    stack = np.stack(kernels, -1)[:, :, None].repeat(channels, 2).astype(x.dtype)
    return ops.depthwise_conv(x, stack, 1, padding, "channels_first" if first else "channels_last")


@imports("keras", "ops.GaussianBlur")
def gaussian_blur_from_keras(call, images):
    first = (call.data_format or call.image_data_format) == "channels_first"
    size = tuple(int(n) for n in call.kernel_size)
    kernel = bell(size, tuple(float(s) for s in call.sigma))
    channels, single = images.shape[-3 if first else -1], images.rank == 3
    half = size[0] // 2  # what the torch backend adds at every end

    def code(ops, x):
        x = ops.expand_dims(x, 0) if single else x
        if call.backend != "torch":
            x = filtered(ops, x, [kernel], channels, first, "same")
        else:
            spatial = [(half, half)] * 2
            x = ops.pad(x, [(0, 0), (0, 0), *spatial] if first else [(0, 0), *spatial, (0, 0)])
            x = filtered(ops, x, [kernel], channels, first, "valid")
        return ops.squeeze(x, 0) if single else x

    return call.written(code, images)


@imports("keras", "ops.SobelEdges")
def sobel_edges_from_keras(call, images):
    first = (call.data_format or call.image_data_format) == "channels_first"
    channels = images.shape[1 if first else -1]

    def code(ops, x):
        around = [(0, 0), (0, 0), (1, 1), (1, 1)] if first else [(0, 0), (1, 1), (1, 1), (0, 0)]
        x = ops.pad(x, around, "reflect" if call.backend == "tensorflow" else "constant")
        edges = [filtered(ops, x, [kernel], channels, first, "valid") for kernel in (DOWN, DOWN.T)]
        return ops.stack(edges, -1)

    return call.written(code, images)
