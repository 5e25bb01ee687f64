"""Train the digits network and write models/digits.keras: `python -m models.train_digits`.

Runs on Keras' torch backend with a fixed seed, so that the shipped weights can be made again.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a file: its folder is on the path, the folder that holds the package is not
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

os.environ["KERAS_BACKEND"] = "torch"
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a graphics card sums in another order

from models import digits

if TYPE_CHECKING:
    from keras import Model

SEED = 0
EPOCHS = 40


def train(epochs: int = EPOCHS) -> tuple[Model, float]:
    """Return the trained network, without its optimizer, and its accuracy on the held-back images."""
    import keras

    keras.utils.set_random_seed(SEED)
    x_train, y_train, x_test, y_test = digits.load_data()
    model = digits.untrained_model()
    model.compile("adam", loss="sparse_categorical_crossentropy")
    model.fit(x_train, y_train, batch_size=64, epochs=epochs, verbose=2)
    trained = digits.untrained_model()
    trained.set_weights(model.get_weights())
    accuracy = (trained.predict(x_test, verbose=0).argmax(axis=-1) == y_test).mean()
    return trained, float(accuracy)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, print the accuracy and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="passes over the training images (%(default)s)")
    parser.add_argument("--output", type=Path, default=digits.TRAINED, help="the .keras file to write (%(default)s)")
    options = parser.parse_args(arguments)
    model, accuracy = train(options.epochs)
    model.save(options.output)
    print(f"accuracy on held-back images: {accuracy:.2%}; wrote {options.output}")


if __name__ == "__main__":
    main()
