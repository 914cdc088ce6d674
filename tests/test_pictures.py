import numpy as np
import pytest

from keras_regvq.pictures import codebook_picture, curves, image_grid, usage_histogram


def test_a_grid_holds_each_image_at_its_place():
    images = np.arange(5, dtype="uint8")[:, None, None, None] * np.ones((5, 4, 6, 3), "uint8")
    grid = np.asarray(image_grid([images[:3], images[3:]], scale=2, gap=1))
    assert grid.shape == (2 * 8 + 1, 3 * 12 + 2, 3)
    for index in range(5):
        row, column = divmod(index, 3)
        tile = grid[row * 9 : row * 9 + 8, column * 13 : column * 13 + 12]
        assert (tile == index).all()
    assert (grid[8] == 255).all()


def test_floats_and_bytes_of_the_same_image_look_the_same():
    image = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3), dtype="uint8")
    as_bytes, as_floats = image_grid([image]), image_grid([image.astype("float32") / 255])
    np.testing.assert_array_equal(np.asarray(as_bytes), np.asarray(as_floats))


def test_images_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="`rows`.*one size"):
        image_grid([np.zeros((1, 4, 4, 3), "uint8"), np.zeros((1, 8, 8, 3), "uint8")])


def test_the_codebook_picture_shows_one_patch_a_code_in_order():
    class Tokenizer:
        codebook_size, downsampling_factor = 6, 16

        def decode(self, tokens):
            assert tokens.shape == (6, 3, 3)
            values = tokens.repeat(16, axis=1).repeat(16, axis=2) / 10
            return np.repeat(values[..., None], 3, axis=-1).astype("float32")

    picture = np.asarray(codebook_picture(Tokenizer(), columns=4))
    assert picture.shape == (2 * 16 + 1, 4 * 16 + 3, 3)
    assert (picture[17:, 17:33] == round(0.5 * 255)).all()


def test_plots_are_drawn_and_differ_with_what_they_show():
    even, skewed = usage_histogram(np.ones(8)), usage_histogram(np.arange(8))
    assert even.size == skewed.size and even.tobytes() != skewed.tobytes()
    history = {"loss": [2.0, 1.0], "val_loss": [2.0, 1.5], "psnr": [10.0, 12.0]}
    picture = curves(history, {"losses": ["loss", "absent"], "PSNR": ["psnr"]})
    assert picture.width > picture.height
