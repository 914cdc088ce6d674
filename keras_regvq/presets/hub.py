"""Other projects' tokenizers on the Hugging Face hub."""

from pathlib import Path

from keras_regvq.checks.arguments import refuse
from keras_regvq.files.preset_files import first_line
from keras_regvq.files.settings_files import read_json
from keras_regvq.presets.formats import diffusers_folder, open_muse
from keras_regvq.presets.formats.checkpoint_format import SUFFIXES, names_tensors
from keras_regvq.presets.formats.diffusers_folder import CONFIG, PIPELINE, read_index

PREFIX = "hf://"


def download(handle):
    """Fetch config.json and, if it is another project's, its weights, into huggingface_hub's cache.

    Args:
        handle: hf://user/name, also of a pipeline with a VQModel; hf://user/name/folder for a
            part of a pipeline such as "vqvae"; or hf://user/name/file.ckpt for a file of weights.
            HF_ENDPOINT names another hub.

    Returns:
        Path of the local folder, or of the file.

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
        refuse("preset", repr(handle), "hf://user/name, and the name of a folder or file in it")
    file = parts.pop() if len(parts) > 2 and names_tensors(parts[-1]) else None
    repository, folder = "/".join(parts[:2]), "/".join(parts[2:]) or None

    def fetch(name):
        return hf_hub_download(repository, name, subfolder=folder)

    try:
        if file is not None:
            return Path(fetch(file))
        try:
            config = Path(fetch(CONFIG))
        except EntryNotFoundError as error:
            part = _part_of_pipeline(fetch)
            if folder is not None or part is None:
                raise error
            return download(f"{handle}/{part}")
        content = read_json(config, "preset")
        if diffusers_folder.is_config(content):
            _fetch_weights(fetch, diffusers_folder.LAYOUTS)
        if open_muse.is_config(content):
            _fetch_weights(fetch, open_muse.FILES)
    except LocalEntryNotFoundError as error:  # nothing was asked for yet: there is no connection
        raise OSError(f"{handle}: the hub cannot be reached ({first_line(error)})") from error
    except (EntryNotFoundError, RepositoryNotFoundError, HFValidationError) as error:
        file = f"a file in it that ends in {', '.join(SUFFIXES)}"
        expected = f"a repository with {CONFIG} and its weights, or {file}"
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


def _fetch_weights(fetch, layouts):
    """Fetch the weights in the first of their layouts that the repository has."""
    from huggingface_hub.errors import EntryNotFoundError

    for name in layouts:
        try:
            path = fetch(name)
        except EntryNotFoundError:
            continue
        for shard in read_index(path) if ".index." in name else ():
            fetch(shard)
        return
    fetch(layouts[0])  # whose absence is the error
