"""Operators that no framework can be given: each is refused by its name, with the reason.

| operators                              | why                                               |
|----------------------------------------|---------------------------------------------------|
| what draws random numbers              | no two frameworks draw the same                   |
| ImageDecoder                           | it reads files, which belongs before a network    |
| Gradient                               | it computes with the graph, not with numbers      |
| ai.onnx.ml: CastMap, DictVectorizer ... | maps of names are no arrays                      |
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
refuses(
    "onnx", *(f"ai.onnx.ml.{name}" for name in ("CastMap", "DictVectorizer", "ZipMap")),
    what="of classical machine learning", why="it takes or gives maps of names, which no other framework's network has",
    instead="Leave it out of the file (zipmap=False in skl2onnx), and name the columns behind the network",
)  # fmt: skip
