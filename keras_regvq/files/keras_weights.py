"""Keras's weights files, written whole.

HDF5 ends the process with a segmentation fault when the disk is full, and so would Keras's
`save_weights`. Here the file is made in memory and written by Python, which raises an OSError.
"""

import io

from keras.src.saving import saving_lib  # private: `save_weights` takes no file in memory

from keras_regvq.files.replacing import write_bytes


def save_weights(model, path):
    """`model.save_weights(path)`: the same bytes, but whole or not at all.

    Args:
        model: a built keras.Model; optimizer and metrics are saved with it if it is compiled.
        path: the `.weights.h5` file. Memory of the file's size is needed while it is written.

    Raises:
        OSError: naming `path`, such as for a full disk. What was there stays.
    """
    write_bytes(path, weights_in_memory(model))


def weights_in_memory(model):
    """The bytes of the file that `model.save_weights` would write."""
    buffer = io.BytesIO()
    store = saving_lib.H5IOStore(buffer, mode="w")
    saving_lib._save_state(
        model, weights_store=store, assets_store=None, inner_path="", visited_saveables=set()
    )
    store.close()
    return buffer.getbuffer()
