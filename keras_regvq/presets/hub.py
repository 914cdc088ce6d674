"""Folders of diffusers' models on the Hugging Face hub."""

from pathlib import Path

from keras_regvq.checks.arguments import refuse
from keras_regvq.files.preset_files import first_line
from keras_regvq.files.settings_files import read_json
from keras_regvq.presets.formats.diffusers_folder import (
    CONFIG,
    LAYOUTS,
    PIPELINE,
    WEIGHTS,
    is_config,
    read_index,
)

PREFIX = "hf://"


def download_folder(handle):
    """Fetch config.json and, if it is a VQModel's, its weights, into huggingface_hub's cache.

    Args:
        handle: hf://user/name, also of a pipeline with a VQModel, or hf://user/name/folder for a
            part of a pipeline such as "vqvae".
            HF_ENDPOINT names another hub.

    Returns:
        Path of the local folder.

    Raises:
        ValueError: for a handle of another form, or a repository without such a file.
        OSError: naming the handle, if the hub cannot be reached.
        ImportError: without the package huggingface_hub.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    parts = handle.removeprefix(PREFIX).split("/")
    if len(parts) < 2 or not all(parts) or ".." in parts:
        refuse("preset", repr(handle), "hf://user/name or hf://user/name/folder")
    repository, folder = "/".join(parts[:2]), "/".join(parts[2:]) or None

    def fetch(name):
        return hf_hub_download(repository, name, subfolder=folder)

    try:
        try:
            config = Path(fetch(CONFIG))
        except EntryNotFoundError as error:
            part = _part_of_pipeline(fetch)
            if folder is not None or part is None:
                raise error
            return download_folder(f"{handle}/{part}")
        if is_config(read_json(config, "preset")):
            _fetch_weights(fetch)
    except LocalEntryNotFoundError as error:  # nothing was asked for yet: there is no connection
        raise OSError(f"{handle}: the hub cannot be reached ({first_line(error)})") from error
    except (EntryNotFoundError, RepositoryNotFoundError, HFValidationError) as error:
        expected = f"a repository with config.json and {WEIGHTS}"
        refuse("preset", f"{handle!r}: {first_line(error)}", expected)
    except OSError as error:
        raise OSError(f"{handle}: {first_line(error)}") from error
    return config.parent


def _part_of_pipeline(fetch):
    """The folder of a pipeline's VQModel, or None."""
    from huggingface_hub.errors import EntryNotFoundError

    try:
        parts = read_json(fetch(PIPELINE), "preset")
    except EntryNotFoundError:
        return None
    found = [name for name, kind in parts.items() if kind == ["diffusers", "VQModel"]]
    return found[0] if found else None


def _fetch_weights(fetch):
    """Fetch the weights in the first of their layouts that the repository has."""
    from huggingface_hub.errors import EntryNotFoundError

    for name in LAYOUTS:
        try:
            path = fetch(name)
        except EntryNotFoundError:
            continue
        for shard in read_index(path) if ".index." in name else ():
            fetch(shard)
        return
    fetch(WEIGHTS)  # whose absence is the error
