"""Images with label maps and captions, for training and for tests.

`load` opens procedural scenes, picture folders, ADE20K, CelebAMask-HQ, CUB-200, emoji, TensorFlow
Datasets and arrays as `tf.data`; `label_classes` says how many classes a source's label maps have;
`scene` and `scenes` draw the procedural pictures with NumPy alone. TensorFlow is imported when a
dataset is made, not before.
"""

from keras_regvq.data.in_memory import from_arrays
from keras_regvq.data.loading import label_classes, load
from keras_regvq.data.procedural.scenes import (
    HELD_OUT,
    SCENE_CLASSES,
    SCENE_PALETTE,
    Scene,
    scene,
    scenes,
)
from keras_regvq.data.sources.ade20k import ADE20K_CLASSES
from keras_regvq.data.sources.celebamask_hq import CELEBAMASK_HQ_CLASSES

__all__ = [
    "ADE20K_CLASSES",
    "CELEBAMASK_HQ_CLASSES",
    "HELD_OUT",
    "SCENE_CLASSES",
    "SCENE_PALETTE",
    "Scene",
    "from_arrays",
    "label_classes",
    "load",
    "scene",
    "scenes",
]
