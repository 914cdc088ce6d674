"""What `fit` takes, and what it refuses before anything is trained."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_regvq.quantizers import VectorQuantizer
from tests.training.conftest import CODES, make_trainer

pytestmark = pytest.mark.eager


@pytest.fixture(scope="module")
def trainer():
    """Never moves and draws nothing, so that equal images give equal logs."""
    keras.utils.set_random_seed(5)
    trainer = make_trainer(VectorQuantizer(CODES, 6), discriminator=False, features=False)
    trainer.compile(keras.optimizers.SGD(0.0))
    return trainer


@pytest.fixture(scope="module")
def pictures(images):
    """uint8 images, and the same as floats."""
    pictures = (images * 255).astype("uint8")
    return pictures, pictures.astype("float32") / 255


@pytest.fixture(scope="module")
def expected(trainer, pictures):
    return trainer.fit(pictures[1], batch_size=4, shuffle=False, verbose=0).history


class Sequence(keras.utils.PyDataset):
    def __init__(self, images):
        super().__init__()
        self.images = images

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return {"images": self.images[4 * index : 4 * index + 4]}


def generator(images):
    while True:
        yield images[:4], np.zeros(4)
        yield images[4:], np.zeros(4)


KINDS = {
    "uint8 array": lambda integers, floats: {"x": integers, "batch_size": 4},
    "dict of arrays": lambda integers, floats: {"x": {"images": floats}, "batch_size": 4},
    "tf.data of dicts with labels": lambda integers, floats: {
        "x": tf.data.Dataset.from_tensor_slices({"images": integers, "labels": np.zeros(8)}).batch(
            4
        )
    },
    "tf.data of tuples": lambda integers, floats: {
        "x": tf.data.Dataset.from_tensor_slices((floats, np.zeros(8))).batch(4)
    },
    "generator of tuples": lambda integers, floats: {
        "x": generator(floats),
        "steps_per_epoch": 2,
    },
    "PyDataset of dicts": lambda integers, floats: {"x": Sequence(floats)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data_gives_what_the_array_gives(kind, trainer, pictures, expected):
    history = trainer.fit(**KINDS[kind](*pictures), shuffle=False, verbose=0).history
    assert history.keys() == expected.keys()
    for name, values in history.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-5, err_msg=name)


def dataset(array):
    return tf.data.Dataset.from_tensor_slices(array).batch(4)


WRONG = {
    "floats to 255": lambda images: images * 255,
    "floats from -1": lambda images: images * 2 - 1,
    "floats to 255, late in the array": lambda images: np.concatenate(
        [np.repeat(images[:1], 1100, axis=0), images * 255]
    ),
    "NaN": lambda images: np.full_like(images, np.nan),
    "integers": lambda images: (images * 255).astype("int32"),
    "one channel": lambda images: images[..., :1],
    "one image": lambda images: images[0],
    "odd sides": lambda images: images[:, :15],
    "no images": lambda images: images[:0],
    "tf.data of floats to 255": lambda images: dataset(images * 255),
    "tf.data of dicts of floats to 255": lambda images: dataset({"images": images * 255}),
    "tf.data of one channel": lambda images: dataset(images[..., :1]),
    "tf.data of no images": lambda images: dataset(images[:0]),
    "PyDataset of floats to 255": lambda images: Sequence(images * 255),
    "dict without images": lambda images: {"pictures": images},
    "tf.data of dicts without images": lambda images: dataset({"pictures": images}),
    "a list of lists": lambda images: images[:2].tolist(),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_data_is_refused_before_training(kind, trainer, images):
    step = int(keras.ops.convert_to_numpy(trainer.step))
    for argument, data in {
        "x": {"x": WRONG[kind](images)},
        "validation_data": {"x": images, "validation_data": WRONG[kind](images)},
    }.items():
        with pytest.raises(ValueError, match=r"Received: [\s\S]*Expected: ") as error:
            trainer.fit(**data, verbose=0)
        assert f"`{argument}`" in str(error.value) or "`batch`" in str(error.value)
    assert int(keras.ops.convert_to_numpy(trainer.step)) == step


@pytest.mark.parametrize("kind", ["integers", "one channel", "odd sides"])
def test_a_generators_wrong_images_are_refused_by_the_first_step(kind, trainer, pictures, expected):
    with pytest.raises(ValueError, match="`images`.*Received: .*Expected: "):
        images = generator(WRONG[kind](pictures[1]))
        trainer.fit(images, steps_per_epoch=1, shuffle=False, verbose=0)
    # The step that failed has left the trainer as it was.
    history = trainer.fit(pictures[1], batch_size=4, shuffle=False, verbose=0).history
    assert history == expected
