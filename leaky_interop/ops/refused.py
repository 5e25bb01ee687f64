"""Operators that no framework can be given: each is refused by its name, with the reason.

| operators                              | why                                               |
|----------------------------------------|---------------------------------------------------|
| what draws random numbers              | no two frameworks draw the same                   |
| ImageDecoder                           | it reads files, which belongs before a network    |
| Gradient                               | it computes with the graph, not with numbers      |
| ai.onnx.ml: trees, SVMs, scalers ...   | they are not layers of a network                  |
"""

from ..op import refuses

refuses(
    "onnx", "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
    what="which draws random numbers", why="no two frameworks draw the same ones, whatever the seed",
    instead="Make its result an input of the network, or a constant",
)  # fmt: skip
refuses(
    "onnx", "ImageDecoder",
    what="which decodes an image file", why="no framework has that as an operator of a network",
    instead="Decode before the network, and give it the pixels",
)  # fmt: skip
refuses(
    "onnx", "ai.onnx.preview.training.Gradient",
    what="which differentiates the graph itself", why="only what a network computes converts",
    instead="Take the gradient in the target framework, which has its own",
)  # fmt: skip
CLASSICAL = (
    "ArrayFeatureExtractor", "Binarizer", "CastMap", "CategoryMapper", "DictVectorizer", "FeatureVectorizer", "Imputer",
    "LabelEncoder", "LinearClassifier", "LinearRegressor", "Normalizer", "OneHotEncoder", "SVMClassifier",
    "SVMRegressor", "Scaler", "TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor", "ZipMap",
)  # fmt: skip
refuses(
    "onnx", *(f"ai.onnx.ml.{name}" for name in CLASSICAL),
    what="of classical machine learning", why="it is no layer of a network in any other framework",
    instead="Keep that part in ONNX, and convert the network before or behind it",
)  # fmt: skip
