"""Networks over steps of time: recurrent, convolved."""

import keras
from keras import layers

__all__ = ["bidirectional_lstm", "conv_lstm", "masked_lstm", "seq2seq_encoder", "timeseries_transformer", "wavenet"]


def bidirectional_lstm():
    """Text of any length through two LSTMs in both directions."""
    given = keras.Input((None,), dtype="int32")
    x = layers.Embedding(20, 6)(given)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    x = layers.Bidirectional(layers.LSTM(4))(x)
    return keras.Model(given, layers.Dense(1, activation="sigmoid")(x))


def conv_lstm():
    """The next pictures of a film: convolutional LSTMs with normalisation between them, a convolution over time."""
    given = keras.Input((4, 8, 8, 1))
    x = layers.ConvLSTM2D(4, 5, padding="same", return_sequences=True, activation="relu")(given)
    x = layers.BatchNormalization()(x)
    x = layers.ConvLSTM2D(3, 3, padding="same", return_sequences=True, activation="relu")(x)
    return keras.Model(given, layers.Conv3D(1, 3, activation="sigmoid", padding="same")(x))


def masked_lstm():
    """Words of a text that is filled up with zeros: the mask goes through both directions to the mean over time."""
    given = keras.Input((9,), dtype="int32")
    x = layers.Embedding(20, 6, mask_zero=True)(given)
    x = layers.Bidirectional(layers.LSTM(5, return_sequences=True), merge_mode="sum")(x)
    x = layers.GlobalAveragePooling1D()(layers.TimeDistributed(layers.Dense(4, activation="tanh"))(x))
    return keras.Model(given, layers.Dense(3)(x))


def wavenet():
    """Causal convolutions, each further apart than the last, gated; what each found is summed."""
    given = keras.Input((24, 1))
    x, skips = layers.Conv1D(6, 2, padding="causal")(given), []
    for rate in (1, 2, 4):
        value = layers.Conv1D(6, 2, padding="causal", dilation_rate=rate, activation="tanh")(x)
        gate = layers.Conv1D(6, 2, padding="causal", dilation_rate=rate, activation="sigmoid")(x)
        both = layers.Multiply()([value, gate])
        skips.append(layers.Conv1D(5, 1)(both))
        x = layers.Add()([x, layers.Conv1D(6, 1)(both)])
    x = layers.ReLU()(layers.Add()(skips))
    return keras.Model(given, layers.Conv1D(4, 1, activation="softmax")(layers.Conv1D(5, 1, activation="relu")(x)))


def seq2seq_encoder():
    """States of one LSTM start another; scores, and both states."""
    source, target = keras.Input((None, 5), name="source"), keras.Input((None, 4), name="target")
    _, h, c = layers.LSTM(6, return_state=True)(source)
    sequence, h, c = layers.LSTM(6, return_sequences=True, return_state=True)(target, initial_state=[h, c])
    return keras.Model([source, target], [layers.Dense(4, activation="softmax")(sequence), h, c])


def timeseries_transformer():
    given = keras.Input((10, 2))
    x = given
    for _ in range(2):
        y = layers.MultiHeadAttention(key_dim=4, num_heads=2, dropout=0.25)(x, x)
        residual = layers.LayerNormalization(epsilon=1e-6)(layers.Dropout(0.25)(y)) + x
        y = layers.Conv1D(filters=4, kernel_size=1, activation="relu")(residual)
        y = layers.Conv1D(filters=x.shape[-1], kernel_size=1)(layers.Dropout(0.25)(y))
        x = layers.LayerNormalization(epsilon=1e-6)(y) + residual
    x = layers.GlobalAveragePooling1D(data_format="channels_last")(x)
    return keras.Model(given, layers.Dense(3, activation="softmax")(layers.Dense(6, activation="relu")(x)))
