"""Preprocessing by name: ImageNet as torchvision says it, Keras' applications, darknet, GANs, or a TOML file.

| name | the picture | the numbers | source |
| --- | --- | --- | --- |
| `imagenet` | shorter side 256, bilinear, centre 224 | `(x / 255 - mean) / std`, RGB | torchvision's ImageNet weights |
| `keras:FAMILY` | stretched, nearest, as `keras.utils.load_img` does | the family's `preprocess_input` | `keras.applications` |
| `darknet` | letterbox in grey, bilinear | `x / 255`, RGB | `letterbox_image` and `load_image` of darknet |
| `gan` | stretched, bilinear | `x / 127.5 - 1`, outputs alike | DCGAN, pix2pix, CycleGAN |

Darknet resizes by its own corner-aligned bilinear function without antialiasing, for which Pillow has no filter: the
numbers of pictures of another size than the network's differ a little from darknet's.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tomllib
from pathlib import Path
from typing import Any

from ..errors import Usage
from .preprocessing import Preprocessing
from .sound import Sound

MOST_TOML = 1 << 20

IMAGENET = Preprocessing(
    size=(224, 224), fit="crop", shorter=256, divisor=255.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
TORCH = dataclasses.replace(IMAGENET, fit="stretch", shorter=None, filter="nearest")
TF = Preprocessing(size=(224, 224), filter="nearest", divisor=127.5, mean=(1.0,))
CAFFE = Preprocessing(size=(224, 224), filter="nearest", colours="bgr", mean=(103.939, 116.779, 123.68))
NONE = Preprocessing(size=(224, 224), filter="nearest")
MODES = {
    TORCH: ("densenet",),
    TF: ("inception_resnet_v2", "inception_v3", "mobilenet", "mobilenet_v2", "nasnet", "resnet_v2", "xception"),
    CAFFE: ("resnet", "resnet50", "vgg16", "vgg19"),
    NONE: ("convnext", "efficientnet", "efficientnet_v2", "mobilenet_v3"),
}
RECIPES = {
    "imagenet": IMAGENET,
    "darknet": Preprocessing(fit="pad", padding=127.5, divisor=255.0),
    "gan": Preprocessing(divisor=127.5, mean=(1.0,), output_range=(-1.0, 1.0)),
    **{f"keras:{family}": recipe for recipe, families in MODES.items() for family in families},
}


def recipe(name: str | os.PathLike[str]) -> Preprocessing | Sound:
    """The recipe of a name or of a `.toml` file, whose `base` names the recipe that its fields change.

    One with a `sample_rate` is for sounds.
    """
    if str(name) in RECIPES:
        return RECIPES[str(name)]
    if Path(name).suffix.lower() == ".toml":
        return _from_toml(Path(name))
    raise Usage(f"there is no preprocessing {str(name)!r}", hint=f"There is {', '.join(RECIPES)}, or name a .toml file")


def _from_toml(path: Path) -> Preprocessing | Sound:
    from ..files import content

    text = content(path, MOST_TOML)
    try:
        fields = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise Usage(f"{path.name} is not TOML", why=str(error)) from None
    base = fields.pop("base", None)
    if base is not None and str(base) not in RECIPES:
        raise Usage(f"{path.name} is based on {base!r}", hint=f"There is {', '.join(RECIPES)}")
    return _of(fields, path.name, RECIPES[base] if base else None)


def stored(text: str) -> Preprocessing | Sound:
    """The recipe in a model's metadata. Raises Usage for what is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Usage("the model's preprocessing does not parse", why=str(error)) from None
    return _of(found, "the model's preprocessing")


def _of(fields: Any, where: str, base: Preprocessing | None = None) -> Preprocessing | Sound:
    if not isinstance(fields, dict) or "sample_rate" not in fields or base:
        return Preprocessing.from_fields(fields, where, base)
    known = [field.name for field in dataclasses.fields(Sound)]
    if unknown := sorted(set(fields) - set(known)):
        raise Usage(f"{where} has no field {unknown[0]!r}", why=f"for sounds there is {', '.join(known)}")
    return Sound(**fields)
