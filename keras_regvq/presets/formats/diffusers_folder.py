"""Which files of a folder are a diffusers VQModel's: its config, and its weights in any layout."""

import re
from pathlib import Path

from keras_regvq.checks.arguments import refuse
from keras_regvq.files.reading import reading
from keras_regvq.files.safetensors_files import read_safetensors
from keras_regvq.files.settings_files import read_json
from keras_regvq.files.torch_pickle import read_torch_file
from keras_regvq.presets.formats.state_dicts import is_bookkeeping, plain_names

CONFIG, PIPELINE = "config.json", "model_index.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
# In the order in which they are looked for. A variant, such as "fp16", stands before the suffix.
_STEM = "diffusion_pytorch_model"
_WHOLE = (f"{_STEM}.safetensors", f"{_STEM}.bin")
_INDICES = (f"{_STEM}.safetensors.index.json", f"{_STEM}.bin.index.json")
# What a hub is asked for, which cannot be listed without its own protocol.
LAYOUTS = (*_WHOLE, *_INDICES, f"{_STEM}.fp16.safetensors", f"{_STEM}.fp16.bin")
_VARIANT = re.compile(
    rf"{_STEM}\.(safetensors\.index\.[\w-]+\.json|bin\.index\.[\w-]+\.json|"
    r"(?!.*-of-)[\w-]+\.(safetensors|bin))"
)


def find_folder(directory):
    """The folder of a VQModel: a directory itself or, in a pipeline, one in it; None for others.

    Raises:
        ValueError: for a config that cannot be read.
    """
    directory = Path(directory)
    if (directory / CONFIG).is_file():
        return directory if is_config(read_json(directory / CONFIG, "preset")) else None
    if not (directory / PIPELINE).is_file():
        return None
    parts = sorted(path.parent for path in directory.glob(f"*/{CONFIG}"))
    found = [part for part in parts if is_config(read_json(part / CONFIG, "preset"))]
    if len(found) > 1:
        names = ", ".join(part.name for part in found[:5])
        refuse("preset", f"{str(directory)!r}, with {names}", "one of these folders")
    return found[0] if found else None


def is_config(config):
    """Whether a config.json is a VQModel's; very old ones do not name their class."""
    if "_class_name" in config:
        return config["_class_name"] == "VQModel"
    return {"num_vq_embeddings", "block_out_channels"} <= set(config)


def read_weights(directory):
    """The tensors of a folder, by their names there.

    Args:
        directory: Path with config.json and the weights: one file or several with an index,
            `.safetensors` or `.bin`, in full precision where there is a choice.

    Returns:
        {name: array}, and the names of those that only training needs.

    Raises:
        ValueError: naming the file or folder, for missing and damaged files.
    """
    names = {path.name for path in directory.iterdir()}
    variants = sorted(name for name in names if _VARIANT.fullmatch(name))
    file = next((name for name in (*_WHOLE, *_INDICES, *variants) if name in names), None)
    if file is None:
        refuse("preset", f"{str(directory)!r} without {WEIGHTS}", "a folder with both files")
    read = _read_shards if ".index." in file else read_tensors
    tensors = plain_names(read(directory / file), repr(str(directory / file)))
    ignored = sorted(name for name in tensors if is_bookkeeping(name))
    return {name: tensors[name] for name in tensors if name not in ignored}, ignored


def read_tensors(path):
    """{name: array} of a file of tensors alone, `.safetensors` or PyTorch's."""
    if path.suffix.lower() == ".safetensors":
        return read_safetensors(path, argument="preset")
    found = read_torch_file(path, "preset")
    with reading(path, "a file of tensors by name", "preset"):
        found = found.get("state_dict", found)
        return {n: v for n, v in found.items() if isinstance(n, str) and hasattr(v, "shape")}


def read_index(path):
    """{file: names of its tensors} of an index of files beside it."""
    files = {}
    with reading(path, "an index of files of tensors", "preset"):
        for name, file in read_json(path, "preset")["weight_map"].items():
            if Path(file).name != file or not file.endswith((".safetensors", ".bin")):
                raise ValueError(f"it names {file!r:.80}, which is no file of tensors beside it")
            files.setdefault(file, set()).add(name)
        if not files:
            raise ValueError("it names no file")
    return files


def _read_shards(path):
    """The tensors of the files that an index names, each from the file it is said to be in."""
    found = {}
    for file, names in read_index(path).items():
        tensors = read_tensors(path.with_name(file))
        found |= {name: tensors[name] for name in names if name in tensors}
    return found
