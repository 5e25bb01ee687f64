"""One conversion a script: thin, to copy from. Run them as `python -m conversion_scripts.keras_to_onnx net.keras net.onnx`."""
