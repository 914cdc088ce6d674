"""A frozen language model from KerasHub as text encoder."""

import keras
import keras_hub
import numpy as np

from keras_regvq.checks.arguments import check_positive_integer, refuse
from keras_regvq.files.preset_files import (
    PresetFiles,
    check_path,
    load_hub_model,
    write_hub_model,
)
from keras_regvq.models.batched_function import BatchedFunction
from keras_regvq.models.conditions.caption_features import TextFeatureCondition
from keras_regvq.models.text_encoders.text_encoder import TextEncoder, check_texts, warn_of_cut

SUBDIRECTORY, REGISTERED_NAME = "text_encoder", "keras_regvq>PretrainedTextEncoder"


@keras.saving.register_keras_serializable(package="keras_regvq")
class PretrainedTextEncoder(TextEncoder):
    """The last hidden states of a language model, frozen, kept for each caption that was seen.

    Args:
        preset: what KerasHub's `Backbone.from_preset` and `Tokenizer.from_preset` take: a name, a
            local directory (of transformers' files, too), hf://... or kaggle://... BERT's, CLIP's
            and T5's families have the inputs that it knows.
        max_length: T, tokens with the special ones at both ends.
        cache_size: captions whose features are kept in memory, in float16.

    Example:
        ```python norun
        encoder = keras_regvq.models.PretrainedTextEncoder("bert_tiny_en_uncased", max_length=32)
        features = encoder.encode(["a blue car on a snowy field"])  # (1, 32, 128)
        prior = keras_regvq.models.DiffusionPrior(512, (16, 16), condition=encoder.condition())
        ```
    """

    def __init__(self, preset, max_length=64, cache_size=100_000):
        expected = "a name, a folder or a handle of a text model that KerasHub can load"
        self.preset = check_path("preset", preset, expected)
        self.max_length = check_positive_integer("max_length", max_length)
        self.cache_size = check_positive_integer("cache_size", cache_size)
        self._directory = None  # of the preset that this encoder came with
        self._features, self._loaded = {}, None

    def come_with(self, preset):
        """Read the language model from inside the model preset that this encoder is part of."""
        self._directory = str(preset)

    def _load(self):
        if self._loaded is None:
            location = self.preset
            if self._directory is not None:
                location = str(PresetFiles(self._directory).folder(SUBDIRECTORY))
            classes = keras_hub.models.Tokenizer, keras_hub.models.Backbone
            expected = "a text model that KerasHub can load"
            tokenizer, backbone = (
                load_hub_model(cls, location, "preset", expected) for cls in classes
            )
            self._loaded = tokenizer, _TextModel(backbone)
        return self._loaded

    def encode(self, texts):
        """Strings (B,) -> float32 (B, T, D), zeros where a text is over; warns of what is cut."""
        texts = check_texts("texts", texts)
        new = [text for text in dict.fromkeys(texts) if text not in self._features]
        if new:
            self._encode_new(new)
        features = np.zeros((len(texts), self.max_length, self.feature_dim), "float32")
        for row, text in zip(features, texts, strict=True):
            row[: len(self._features[text])] = self._features[text]
        while len(self._features) > self.cache_size:  # the oldest ones go
            del self._features[next(iter(self._features))]
        return features

    def _encode_new(self, texts):
        tokenizer, model = self._load()
        start, end = tokenizer.start_token_id, tokenizer.end_token_id
        start = [] if start in (None, end) else [start]  # T5 has no start of its own
        ids = np.full((len(texts), self.max_length), tokenizer.pad_token_id or 0, "int32")
        lengths, cut = [], []
        for row, text in zip(ids, texts, strict=True):
            tokens = np.asarray(tokenizer.tokenize(text)).ravel().tolist()
            room = self.max_length - len(start) - 1
            if len(tokens) > room:
                cut.append(text)
            tokens = [*start, *tokens[:room], end]
            row[: len(tokens)] = tokens
            lengths.append(len(tokens))
        mask = np.arange(self.max_length) < np.array(lengths)[:, None]
        for text, values, length in zip(texts, model(ids, mask), lengths, strict=True):
            self._features[text] = values[:length].astype("float16")
        warn_of_cut(cut, self.max_length, "tokens")

    @property
    def feature_dim(self):
        """D, the language model's."""
        return self._load()[1].feature_dim

    def condition(self):
        """A `TextFeatureCondition` of these features."""
        return TextFeatureCondition(self.max_length, self.feature_dim)

    def save(self, folder):
        """Write the language model to a new folder, as KerasHub does."""
        tokenizer, model = self._load()
        write_hub_model(model.backbone, tokenizer, folder)

    def get_config(self):
        return {
            "preset": self.preset,
            "max_length": self.max_length,
            "cache_size": self.cache_size,
        }


class _TextModel:
    """A KerasHub backbone as a function of token numbers and mask: NumPy (B, T) -> (B, T, D)."""

    def __init__(self, backbone):
        self.backbone = backbone
        text_model = getattr(backbone, "text_encoder", backbone)  # CLIP's has pictures, too
        inputs, outputs = text_model.input, text_model.output
        if isinstance(outputs, dict):
            names = ("sequence_output", "encoder_sequence_output")
            outputs = next((outputs[name] for name in names if name in outputs), None)
        inputs = inputs if isinstance(inputs, dict) else {inputs.name: inputs}
        taken = {name: inputs[name] for name in inputs if not name.startswith("decoder_")}
        known = {"token_ids", "padding_mask", "segment_ids"}
        if outputs is None or {name.removeprefix("encoder_") for name in taken} - known:
            expected = "a text backbone with token_ids, padding_mask and a sequence as output"
            refuse("preset", f"a {type(backbone).__name__} with inputs {sorted(inputs)}", expected)
        self.network = keras.Model(taken, outputs)
        self.feature_dim = outputs.shape[-1]
        self.run = BatchedFunction(self.network, self.network)

    def __call__(self, ids, mask):
        arrays = {"token_ids": ids, "padding_mask": mask.astype("int32")}
        arrays["segment_ids"] = np.zeros_like(ids)
        batch = {name: arrays[name.removeprefix("encoder_")] for name in self.network.input}
        return self.run(batch, batch_size=64)
