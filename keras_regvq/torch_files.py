"""The place that `read_torch_file` had."""

from keras_regvq.files.torch_pickle import read_torch_file

__all__ = ["read_torch_file"]
