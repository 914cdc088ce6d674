"""Presets onto a hub: checked first, and with a model card."""

import contextlib
import tempfile
from pathlib import Path

import keras_hub

from keras_regvq.checks.arguments import refuse
from keras_regvq.files.builtin_presets import locate
from keras_regvq.files.hub_uris import check_hub_uri
from keras_regvq.files.model_card import CARD, card_text, is_own_card, with_handle
from keras_regvq.files.preset_files import WEIGHTS, PresetFiles, first_line
from keras_regvq.files.preset_folder import current_folder, is_part
from keras_regvq.files.updating import put_in_place
from keras_regvq.models.card_facts import card_facts
from keras_regvq.models.preset_loading import load_preset
from keras_regvq.models.preset_model import Preset

# Each hub's client has errors of its own; those of a missing connection share these names.
_NO_CONNECTION = {"ConnectionError", "TransportError", "Timeout", "TimeoutError"}
_LOG_IN = {
    "hf": "`hf auth login`, or HF_TOKEN",
    "kaggle": "`kagglehub.login()`, or KAGGLE_API_TOKEN",
}


def upload_preset(uri, preset, custom_objects=None):
    """Upload a preset to a hub, from which `from_preset(uri)` loads it.

    The preset is loaded first, so that nothing is uploaded that could not be loaded again. Then
    its files go to the hub, and its README.md; other files in the folder do not. A preset without
    README.md gets a model card. A repository that is not there is made.

    Args:
        uri: hf://user/name, or kaggle://user/model/keras/variation. On Hugging Face all files
            change in one commit, and a README.md that somebody has written there is kept, unless
            the preset's own was written by hand, too. On Kaggle each upload is a new version.
        preset: a directory that `save_to_preset` has written, or a built-in name.
        custom_objects: as `from_preset` takes them.

    Raises:
        ValueError: for another kind of uri, and for a preset that cannot be loaded, has no weights
            or a card that the hub refuses.
        OSError: naming the uri, if the hub cannot be reached, or does not let you write there
            (PermissionError).
        ImportError: without the package huggingface_hub or kagglehub.

    Example:
        ```python norun
        keras_regvq.presets.upload_preset("hf://user/my_tokenizer", "my_tokenizer")
        ```
    """
    uri, scheme = check_hub_uri(uri)
    name, location = locate(preset)
    if "://" in location:
        refuse("preset", repr(name), "a directory on this machine, or a built-in name")
    if not PresetFiles(location).weights():
        refuse("preset", f"{name!r}, which has no weights", f"a preset with {WEIGHTS}")
    model = load_preset(Preset, name, custom_objects=custom_objects)
    with tempfile.TemporaryDirectory() as directory:
        _gather(model, current_folder(location), Path(directory), uri)
        del model
        with _naming(uri, scheme):
            if scheme == "hf":
                _commit(uri.removeprefix("hf://"), Path(directory))
            else:
                keras_hub.upload_preset(uri, directory)


def _gather(model, folder, target, uri):
    """Put what belongs to a preset into an empty folder, with its card."""
    for part in filter(is_part, folder.iterdir()):
        for path in (part, *part.rglob("*")):
            if path.is_file() and part.name != CARD:
                put_in_place(path.resolve(), target / path.relative_to(folder))
    card = folder / CARD
    if card.is_file() and not is_own_card(card):
        put_in_place(card.resolve(), target / CARD)
        return
    text = card.read_text("utf-8") if card.is_file() else card_text(card_facts(model), uri, {})
    (target / CARD).write_text(with_handle(text, uri), encoding="utf-8")


def _commit(repository, folder):
    """Let a repository of Hugging Face have a folder's preset, in one commit.

    KerasHub's `upload_preset` writes a card of its own over the preset's where the repository has
    none, and what it uploads may come in several commits, between which config and weights would
    be those of different models.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi()
    api.create_repo(repository, exist_ok=True)
    there = api.list_repo_files(repository)
    paths = [path for path in folder.rglob("*") if path.is_file()]
    files = {path.relative_to(folder).as_posix(): path for path in paths}
    if CARD in there and is_own_card(folder / CARD):
        if not is_own_card(api.hf_hub_download(repository, CARD)):
            del files[CARD]
    old = [name for name in there if name not in files and is_part(Path(name.split("/")[0]))]
    operations = [CommitOperationAdd(name, str(path)) for name, path in files.items()]
    operations += [CommitOperationDelete(name) for name in old]
    api.create_commit(repository, operations, commit_message="Upload a preset of keras_regvq")


@contextlib.contextmanager
def _naming(uri, scheme):
    """Around what speaks to a hub: its errors become one line that names the uri."""
    try:
        yield
    except Exception as error:
        reason = first_line(error)
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, ImportError):
            kind = ImportError
        elif status in (401, 403):
            kind = PermissionError
            reason = f"you may not write there; log in first: {_LOG_IN[scheme]} ({reason})"
        elif isinstance(error, ValueError):
            kind, reason = ValueError, " ".join(str(error).split())
        elif {cls.__name__ for cls in type(error).__mro__} & _NO_CONNECTION:
            kind, reason = ConnectionError, f"the hub cannot be reached ({reason})"
        else:
            kind = OSError
        raise kind(f"{uri}: {reason}") from error
