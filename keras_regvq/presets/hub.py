"""Folders of diffusers' models on the Hugging Face hub."""

from pathlib import Path

from keras_regvq.presets.diffusers_folder import WEIGHTS
from keras_regvq.validation import refuse

PREFIX = "hf://"


def download_folder(handle):
    """Fetch config.json and, if it is a VQModel's, its weights, into huggingface_hub's cache.

    Args:
        handle: hf://user/name, or hf://user/name/folder for a part of a pipeline such as "vqvae".
            HF_ENDPOINT names another hub.

    Returns:
        Path of the local folder.

    Raises:
        ValueError: for a handle of another form, or a repository without such a file.
        ImportError: without the package huggingface_hub.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    parts = handle.removeprefix(PREFIX).split("/")
    if len(parts) < 2 or not all(parts) or ".." in parts:
        refuse("preset", repr(handle), "hf://user/name or hf://user/name/folder")
    repository, folder = "/".join(parts[:2]), "/".join(parts[2:]) or None

    def fetch(name):
        return hf_hub_download(repository, name, subfolder=folder)

    try:
        config = Path(fetch("config.json"))
        if '"VQModel"' in config.read_text():
            fetch(WEIGHTS)
    except (EntryNotFoundError, RepositoryNotFoundError) as error:
        refuse("preset", f"{handle!r}: {error}", f"a repository with config.json and {WEIGHTS}")
    return config.parent
