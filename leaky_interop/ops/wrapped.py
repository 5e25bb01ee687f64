"""Keras layers that hold another layer.

| layer                 | when it infers                          | when it trains                                     |
|-----------------------|-----------------------------------------|----------------------------------------------------|
| SpectralNormalization | the layer, its result in the data's dtype | divides the kernel by its largest singular value |

A SpectralNormalization has divided its kernel by the end of every training step, so its weights are read as they are.
PyTorch's parametrization of the same name divides whenever it is called; its export shows it as arithmetic.
"""

from ..op import imports


@imports("keras", "SpectralNormalization")
def spectral_normalization_from_keras(layer, x):
    return layer.call(layer.layer, x).cast(x.dtype)
