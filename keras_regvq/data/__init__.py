"""Images with label maps and captions, for training and for tests.

`load` opens procedural scenes, picture folders, TensorFlow Datasets and arrays as `tf.data`;
`scene` and `scenes` paint the procedural pictures with NumPy alone. TensorFlow is imported when a
dataset is made, not before.
"""

from keras_regvq.data.loading import from_arrays, load
from keras_regvq.data.scenes import (
    HELD_OUT,
    SCENE_CLASSES,
    SCENE_PALETTE,
    Scene,
    scene,
    scenes,
)

__all__ = [
    "HELD_OUT",
    "SCENE_CLASSES",
    "SCENE_PALETTE",
    "Scene",
    "from_arrays",
    "load",
    "scene",
    "scenes",
]
