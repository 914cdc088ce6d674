import pytest

from tests.data.picture_folders import flat, write


@pytest.fixture
def split_folder(tmp_path):
    """A folder whose test split is what a test writes; train holds one image."""
    write(tmp_path / "train" / "images" / "a.png", flat(1))
    (tmp_path / "test" / "images").mkdir(parents=True)
    return tmp_path
