"""Makes the early_*.h5 of this folder, as Keras 2.0.8 wrote them: Sequentials as lists, fields that are gone since.

It wants Python 3.7, Keras 2.0.8, TensorFlow 1.15.5, h5py 2.10 and numpy 1.18; `early.npz` holds what make.py's expected.npz does.
"""

import pathlib

import numpy as np
from keras.layers import GRU, LSTM, BatchNormalization, Bidirectional, Conv2D, ConvLSTM2D, Dense, Flatten, SimpleRNN
from keras.models import Sequential

HERE = pathlib.Path(__file__).resolve().parent


def frozen():
    """A Sequential in a Sequential, two of whose layers are frozen: weights that learn come before the others."""
    base = Sequential([Conv2D(3, 3, input_shape=(6, 6, 2)), BatchNormalization(), BatchNormalization(), Flatten()])
    for layer in base.layers[:2]:
        layer.trainable = False
    return Sequential([base, Dense(3), BatchNormalization()])


def steps():
    """Recurrent layers with fields that are gone."""
    first = Bidirectional(SimpleRNN(3, return_sequences=True), input_shape=(5, 4))
    return Sequential([first, GRU(4, implementation=2, return_sequences=True), LSTM(3, go_backwards=True)])


def films():
    return Sequential([ConvLSTM2D(2, 3, padding="same", input_shape=(3, 5, 4, 2)), Flatten(), Dense(2)])


def main():
    expected = {}
    for name, network in {"early_frozen": frozen, "early_steps": steps, "early_films": films}.items():
        model, random = network(), np.random.RandomState(1)
        model.set_weights([np.abs(random.normal(0, 0.5, w.shape)).astype(w.dtype) + 0.1 for w in model.get_weights()])
        x = random.normal(0, 2, [2, *map(int, model.inputs[0].shape[1:])]).astype("float32")
        expected.update({name + "/x0": x, name + "/y0": model.predict(x)})
        model.save(str(HERE / (name + ".h5")), include_optimizer=False)
    np.savez_compressed(str(HERE / "early.npz"), **expected)


if __name__ == "__main__":
    main()
