"""What Keras needs to write ONNX files, backend by backend."""

import importlib.util

import keras

_PACKAGES = {
    "tensorflow": ("onnx", "tf2onnx"),
    "jax": ("onnx", "jax2onnx"),
    "torch": ("onnx", "onnxscript"),
}


def missing_onnx_packages():
    """Names of the packages that are needed on this backend and not installed."""
    packages = _PACKAGES[keras.backend.backend()]
    return [name for name in packages if is_missing(name)]


def is_missing(package):
    return importlib.util.find_spec(package) is None
