"""The models that a page works with, and what it asks of them: arrays and plain values."""

import time
import warnings
from pathlib import Path

import keras
import numpy as np

from keras_regvq.checks.arguments import check_choice, check_number, check_positive_integer, refuse
from keras_regvq.data import SCENE_CLASSES, SCENE_PALETTE, scene
from keras_regvq.demo.images import as_bytes, data_url, decibels, read_picture, webp_at
from keras_regvq.files.builtin_presets import BUILTIN_DIRECTORY, builtin_presets
from keras_regvq.files.configs import read_config
from keras_regvq.pictures import code_patches, label_palette
from keras_regvq.presets import from_preset

PICTURES = 4  # that a map is painted in
MOST_STEPS = 100


class Studio:
    """Presets by name, loaded when they are first asked for.

    Args:
        presets: names or folders of tokenizers and generators.

    Raises:
        ValueError: for a preset that is neither.
    """

    def __init__(self, presets):
        self._models = {}
        self.kinds = {name: self._kind(name) for name in dict.fromkeys(presets)}
        for name, kind in self.kinds.items():
            if kind not in _TABS:
                refuse("preset", f"{name}, a {kind}", f"one of {', '.join(_TABS)}")

    def _kind(self, name):
        """The class of a preset, from its configuration if it is at hand."""
        folder = BUILTIN_DIRECTORY / name if name in builtin_presets() else Path(name)
        if (folder / "config.json").is_file():
            return read_config(folder / "config.json").get("class_name")
        self._models[name] = from_preset(name)
        return type(self._models[name]).__name__

    def model(self, name, tab=None):
        """The model of a preset that was named at the start."""
        names = [n for n, kind in self.kinds.items() if tab is None or _TABS[kind] == tab]
        name = check_choice("preset", name, tuple(names))
        if name not in self._models:
            self._models[name] = from_preset(name)
        return self._models[name]

    def tokenizer(self, name):
        model = self.model(name)
        tokenizer = getattr(model, "tokenizer", model)
        if tokenizer.tokens_per_position > 1:
            received = f"{name}, of {tokenizer.tokens_per_position} tokens a position"
            refuse("preset", received, "one of one token a position: the page shows one grid")
        return tokenizer

    def describe(self):
        """What the page has to know before anybody does anything."""
        return {
            "presets": [{"name": n, "tab": _TABS[kind]} for n, kind in self.kinds.items()],
            "backend": keras.config.backend(),
        }

    def describe_maps(self, preset):
        """The labels of a generator of maps, their colours, and a map to begin with."""
        model = self.model(preset, "draw")
        height, width = model.tokenizer.image_size
        classes = classes_of(model)
        names, palette = [f"label {n}" for n in range(classes)], label_palette(classes)
        example = np.zeros((height, width), "uint8")
        if classes == len(SCENE_CLASSES):
            names, palette = SCENE_CLASSES, SCENE_PALETTE
            drawn = scene(3, max(height, width), "test")
            example = drawn.labels[:height, :width].astype("uint8")
        return {
            "size": [height, width],
            "names": list(names),
            "palette": np.asarray(palette).tolist(),
            "map": example.ravel().tolist(),
        }

    def paint(self, preset, labels, seed=0, temperature=1.0, top_p=0.9, guidance=1.5,
              tokens=None, changed=None):  # fmt: skip
        """Pictures of a label map; of those that there are, only what is changed.

        Args:
            labels: integers, H * W.
            tokens: of the pictures that there are, or None.
            changed: of each pixel whether it is to be drawn anew, with `tokens`.
        """
        model = self.model(preset, "draw")
        height, width = model.tokenizer.image_size
        maps = _grid("labels", labels, height, width)
        if maps.max(initial=0) >= classes_of(model) or maps.min(initial=0) < 0:
            refuse("labels", f"label {maps.max()}", f"labels below {classes_of(model)}")
        options = sampling(seed, temperature, top_p)
        if model.prior.no_condition is not None:
            options["guidance_scale"] = check_number("guidance", guidance, 0, 20)
        start = time.perf_counter()
        known, mask = None, None
        if tokens is not None:
            known = np.asarray(tokens, "int32").reshape(-1, *model.tokenizer.token_grid)
            mask = _token_mask(_grid("changed", changed, height, width), model.tokenizer)
            mask = np.broadcast_to(mask, known.shape[:3])
        count = PICTURES if known is None else len(known)
        drawn = model.prior.generate(
            np.repeat(maps[None], count, 0), tokens=known, mask=mask, batch_size=count, **options
        )
        pictures = model.tokenizer.decode(drawn)
        return {
            "pictures": [data_url(picture) for picture in pictures],
            "tokens": drawn.tolist(),
            "seconds": time.perf_counter() - start,
        }

    def vocabulary(self, preset):
        """The words that a generator of captions knows; empty where it takes any."""
        return list(getattr(self.model(preset, "words").text_encoder, "words", ()))

    def write(self, preset, prompt, show, seed=0, steps=25, guidance=4.0, count=PICTURES):
        """Pictures of a caption; `show(done, of, pictures)` is called as the steps go."""
        model = self.model(preset, "words")
        steps = check_positive_integer("steps", steps)
        if steps > MOST_STEPS:
            refuse("steps", steps, f"at most {MOST_STEPS}")
        if not isinstance(prompt, str) or not prompt.strip():
            refuse("prompt", "nothing", "a caption")
        options = {"seed": _seed(seed), "num_steps": steps}
        if model.prior.no_condition is not None:
            options["guidance_scale"] = check_number("guidance", guidance, 0, 20)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the page has marked what is unknown
            condition = model.text_encoder.encode([prompt] * count)

        def on_step(done, tokens):
            pictures = model.tokenizer.decode(tokens)
            show(done, steps, [data_url(picture) for picture in pictures])

        model.prior.generate(condition, batch_size=count, on_step=on_step, **options)

    def look(self, preset, data):
        """What a tokenizer keeps of a picture file, and WebP of as many bytes."""
        tokenizer = self.tokenizer(preset)
        height, width = tokenizer.image_size
        image = read_picture(data, height, width, tokenizer.image_channels)
        tokens = tokenizer.encode(image[None])
        kept = as_bytes(tokenizer.decode(tokens)[0])
        size = int(np.ceil(tokens.size * np.log2(tokenizer.codebook_size) / 8))
        webp, webp_size = webp_at(image[..., :3], size) if image.shape[-1] >= 3 else (kept, 0)
        difference = np.clip(128 + 2 * (kept.astype(int) - image), 0, 255).astype("uint8")
        return {
            "size": [height, width],
            "codes": tokenizer.codebook_size,
            "picture": _shown(image),
            "kept": _shown(kept),
            "difference": _shown(difference),
            "decibels": decibels(image, kept),
            "bytes": size,
            "webp": {
                "picture": _shown(webp),
                "bytes": webp_size,
                "decibels": decibels(image[..., :3], webp),
            },
            "tokens": tokens[0].tolist(),
        }

    def decode(self, preset, tokens):
        """The picture of tokens (h, w)."""
        tokenizer = self.tokenizer(preset)
        try:
            tokens = np.asarray(tokens, "int32")
        except (ValueError, TypeError):
            refuse("tokens", "no grid", "a grid of integers")
        return {"kept": _shown(as_bytes(tokenizer.decode(tokens[None])[0]))}

    def codebook(self, preset):
        """A picture of all codes, 32 a row: each in the middle of a grid of its own kind."""
        tokenizer = self.tokenizer(preset)
        if tokenizer.codebook_size > 2**14:
            refuse("preset", f"{tokenizer.codebook_size} codes", "at most 16384, to show them")
        patches, factor, columns = code_patches(tokenizer), tokenizer.downsampling_factor, 32
        rows = -(-len(patches) // columns)
        sheet = np.zeros((rows * columns, *patches.shape[1:]), "float32")
        sheet[: len(patches)] = patches
        sheet = sheet.reshape(rows, columns, factor, factor, -1).transpose(0, 2, 1, 3, 4)
        sheet = sheet.reshape(rows * factor, columns * factor, -1)
        return {"sheet": _shown(as_bytes(sheet)), "columns": columns, "patch": factor}


_TABS = {"SemanticToImage": "draw", "TextToImage": "words", "ImageTokenizer": "tokens"}


def classes_of(model):
    condition = model.prior.condition
    return getattr(getattr(condition, "tokenizer", None) or condition, "num_classes", 256)


def sampling(seed, temperature, top_p):
    return {
        "seed": _seed(seed),
        "temperature": check_number("temperature", temperature, 0, 10),
        "top_p": check_number("top_p", top_p, 0.01, 1),
    }


def _seed(seed):
    return int(check_number("seed", seed, 0, 2**31 - 1))


def _grid(name, values, height, width):
    """Values that a page sends row by row, as int32 (H, W)."""
    try:
        return np.asarray(values, "int32").reshape(height, width)
    except (ValueError, TypeError):
        refuse(name, "another number of pixels", f"{height} x {width} whole numbers")


def _token_mask(changed, tokenizer):
    (height, width), (h, w) = tokenizer.image_size, tokenizer.token_grid[:2]
    return changed.astype(bool).reshape(h, height // h, w, width // w).any(axis=(1, 3))


def _shown(pixels):
    """A data URL of a picture of any number of channels."""
    if pixels.shape[-1] == 1:
        pixels = np.repeat(pixels, 3, axis=-1)
    return data_url(pixels[..., :3])
