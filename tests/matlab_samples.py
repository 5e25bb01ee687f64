"""Layer arrays as MATLAB source: between them they use every function that has one input, with settings off the defaults."""

from __future__ import annotations

import numpy as np

import leaky_interop as li
from leaky_interop import files
from leaky_interop.frameworks.matlab.source import field_of

NETWORKS = {
    "documentation": "imageInputLayer([12 12 1])\nconvolution2dLayer(3,6)\nbatchNormalizationLayer\nleakyReluLayer\n"
    "maxPooling2dLayer(2,'Stride',2)\nconvolution2dLayer(3,5)\nbatchNormalizationLayer\nleakyReluLayer\n"
    "fullyConnectedLayer(10)\nsoftmaxLayer\nclassificationLayer",
    "flatten": "imageInputLayer([4 5 3],'Normalization','zscore')\nconvolution2dLayer([2 3],4)\nflattenLayer\n"
    "batchNormalizationLayer\nleakyReluLayer(-0.3)\nfullyConnectedLayer(7)\neluLayer(0.4)\nfullyConnectedLayer(3)",
    "sides": "imageInputLayer([7 9 2],'Normalization','rescale-symmetric')\n"
    "convolution2dLayer([3 2],4,'Padding',[1 0 2 1],'Stride',[2 1])\nclippedReluLayer(0.8)\n"
    "convolution2dLayer(4,3,'Padding','same','Stride',2)\ntanhLayer\nconvolution2dLayer([2 3],3,'DilationFactor',[1 2],'Padding',[1 2])",
    "groups": "imageInputLayer([6 5 4],'Normalization','rescale-zero-one')\ngroupedConvolution2dLayer(3,3,2,'Padding','same')\n"
    "preluLayer\ngroupedConvolution2dLayer([2 1],2,'channel-wise','Stride',[1 2])\nsigmoidLayer\nglobalAveragePooling2dLayer\n"
    "fullyConnectedLayer(4)",
    "transposed": "imageInputLayer([3 4 2],'Normalization','none')\ntransposedConv2dLayer([5 4],3,'Stride',[2 3],'Cropping','same')\n"
    "leakyReluLayer(1.5)\ntransposedConv2dLayer(3,2,'Cropping',[1 0 0 2],'Stride',2)\nswishLayer\ngeluLayer\ndropoutLayer(0.2)",
    "pools": "imageInputLayer([9 8 3])\naveragePooling2dLayer(3,'Padding',1)\ncrossChannelNormalizationLayer(4,'Alpha',0.5,'K',1)\n"
    "averagePooling2dLayer([2 3],'Padding','same','Stride',2,'PaddingValue','mean')\ngeluLayer('Approximation','tanh')\n"
    "maxPooling2dLayer([3 2],'Padding',[1 1 0 1],'Stride',[1 2])\nlayerNormalizationLayer\nglobalMaxPooling2dLayer\nsoftmaxLayer",
    "norms": "imageInputLayer([4 3 5],'Normalization','none')\nlayerNormalizationLayer('OperationDimension','channel-only','Epsilon',1e-3)\n"
    "reluLayer\ncrossChannelNormalizationLayer(3,'Beta',0.6)\nfullyConnectedLayer(6)\nlayerNormalizationLayer\nregressionLayer",
    "features": "featureInputLayer(5,'Normalization','zscore')\nfullyConnectedLayer(4)\nbatchNormalizationLayer('Epsilon',1e-2)\n"
    "leakyReluLayer(0.2)\nfullyConnectedLayer(3)\nsoftmaxLayer",
}  # fmt: skip


def with_random_numbers(source, folder):
    """net.m with random numbers beside it for everything that can be learned, and for what normalises the input."""
    (folder / "net.m").write_text(f"layers = [\n{source}\n];\n", encoding="utf-8")
    made = files.open_matlab(folder / "net.m")
    graph = li.load(made)
    rng = np.random.default_rng(7)
    numbers = {}
    for (title, role), array in made.initialised.items():
        positive = role == "TrainedVariance"
        drawn = rng.uniform(0.3, 2, array.shape) if positive else rng.standard_normal(array.shape) * 0.6
        numbers.setdefault(field_of(title), {})[role] = drawn.astype(np.float32)
    for layer in made.layers[:1]:
        size = layer.InputSize if isinstance(layer.InputSize, tuple) else (layer.InputSize, 1)
        low = rng.standard_normal(size).astype(np.float32)
        roles = {"zerocenter": {"Mean": low}, "zscore": {"Mean": low, "StandardDeviation": np.abs(low) + 0.5},
                 "none": {}}.get(layer.Normalization, {"Min": low, "Max": low + 1.5})  # fmt: skip
        numbers.setdefault(field_of(layer.title), {}).update(roles)
    files.write_mat(folder / "net.mat", {name: fields for name, fields in numbers.items() if fields})
    return graph
