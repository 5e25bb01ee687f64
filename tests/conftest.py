"""One Keras backend a process: KERAS_BACKEND chooses it, torch where nothing is said."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
