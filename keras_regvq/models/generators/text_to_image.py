"""Text-to-image synthesis: from a caption to an image."""

import keras
import numpy as np

from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.arrays import describe
from keras_regvq.data.pipeline import map_texts
from keras_regvq.models.generators.image_generator import ImageGenerator, check_fit
from keras_regvq.models.text_encoders.pretrained import (
    REGISTERED_NAME,
    SUBDIRECTORY,
    PretrainedTextEncoder,
)
from keras_regvq.models.text_encoders.text_encoder import TextEncoder, check_texts


@keras.saving.register_keras_serializable(package="keras_regvq")
class TextToImage(ImageGenerator):
    """Generates images from captions: an image tokenizer, a prior, and an encoder of text.

    `fit` trains the prior (and a `WordCondition` inside it); the tokenizer and a pretrained text
    encoder are frozen. Its data are dicts of "images" (B, H, W, 3), tokenized on the fly, or of
    "tokens" (B, h, w), which `tokenize` makes once; and of "captions", strings (B,) or what
    `text_encoder.encode` made of them. Logged are "loss" and what the prior logs.

    Args:
        tokenizer: a trained ImageTokenizer.
        prior: a DiffusionPrior (or AutoregressivePrior) over its tokens, with the condition
            `text_encoder.condition()`.
        text_encoder: a `VocabularyEncoder` or `PretrainedTextEncoder`, whose language model is
            written with a preset.

    Raises:
        ValueError: if they do not fit each other.

    Example:
        ```python
        data = keras_regvq.data.scenes(8, size=64)
        tokenizer = keras_regvq.from_preset("regvq_scenes_64")  # 16 x 16 tokens below 512
        encoder = keras_regvq.models.VocabularyEncoder.from_captions(data["captions"])
        condition = encoder.condition()
        prior = keras_regvq.models.DiffusionPrior(
            512, (16, 16), channels=32, num_res_blocks=1, condition=condition
        )
        model = keras_regvq.models.TextToImage(tokenizer, prior, encoder)
        model.compile()
        model.fit({"images": data["images"], "captions": data["captions"]}, batch_size=4)
        generated = model.generate(data["captions"][:2], num_steps=4, seed=0)  # (2, 64, 64, 3)
        ```
    """

    condition_field = "captions"
    parts = ("tokenizer", "prior", "text_encoder")

    def __init__(self, tokenizer, prior, text_encoder, dtype=None, name=None, trainable=True):
        if not isinstance(text_encoder, TextEncoder):
            expected = "a VocabularyEncoder or PretrainedTextEncoder"
            refuse("text_encoder", describe(text_encoder), expected)
        super().__init__(tokenizer, prior, dtype=dtype, name=name, trainable=trainable)
        self.text_encoder = text_encoder
        length = getattr(prior.condition, "prefix_length", None)
        check_fit("condition of length", length, text_encoder.max_length, "text encoder")
        known = getattr(prior.condition, "vocabulary_size", None)
        expected = getattr(text_encoder, "vocabulary_size", None)
        check_fit("vocabulary of", known, expected, "text encoder")

    def encode_inputs(self, inputs):
        """A batch whose captions are strings -> one whose captions are encoded."""
        if not _are_texts(inputs["captions"]):
            return inputs
        return {**inputs, "captions": self.text_encoder.encode(inputs["captions"])}

    def encode_dataset(self, dataset, refused=None):
        """`encode_inputs` of a tf.data set, batch by batch; `refused` is called with an error."""
        condition = self.prior.condition

        def encode(texts):
            try:
                return self.text_encoder.encode(texts)
            except ValueError as error:  # which TensorFlow makes one of its own
                if refused is not None:
                    refused(error)
                raise

        return map_texts(dataset, "captions", encode, condition.values_dtype, condition.shape)

    def encode_captions(self, data):
        """A dict of arrays or a tf.data set, its captions encoded if they are strings."""
        return self.encode_inputs(data) if isinstance(data, dict) else self.encode_dataset(data)

    def check_condition(self, values):
        if _are_texts(values):  # `tokenize` keeps them
            check_texts("captions", values)
        else:
            super().check_condition(values)

    def generate(
        self,
        prompts,
        negative_prompts=None,
        images=None,
        mask=None,
        batch_size=None,
        temperature=None,
        top_k=None,
        top_p=None,
        guidance_scale=None,
        guidance_schedule=None,
        num_steps=None,
        sampler=None,
        eta=None,
        seed=None,
        verbose=None,
        method=None,
    ):
        """Generate images of captions.

        Args:
            prompts: a string or a list of B strings.
            negative_prompts: DiffusionPrior: what the images are to be guided away from: a string
                for all, or B strings; None: from no text at all. Need a guidance_scale other
                than 1.
            images, mask: to regenerate a part: images (B, H, W, 3), and bool (B, H, W), True where
                they are to change. Tokens whose patch the mask touches are drawn anew, all others
                are kept exactly.
            batch_size: images made at once [32].
            temperature: of the tokens' logits; 0 takes the likeliest token [1].
            top_k: draw from the k likeliest tokens only [all].
            top_p: draw from the likeliest tokens that together have this probability [all].
            guidance_scale: classifier-free guidance, for a prior that was trained with
                `condition_dropout` [1, which is none].
            guidance_schedule: AutoregressivePrior: how guidance grows over the tokens:
                "constant", "linear", "cosine", or a function ["constant"].
            num_steps: DiffusionPrior: evaluations of its network [25].
            sampler: DiffusionPrior: "ancestral" or "confidence" for a discrete process,
                "dpm_solver++" or "ddim" for a gaussian one, or a `Sampler` [the first of each].
            eta: DiffusionPrior with "ddim": from 0, deterministic, to 1, as random as DDPM [0].
            seed: int; the same seed gives the same images [a new one each time].
            verbose: whether a progress bar shows; "auto": if there are several batches ["auto"].
            method: an earlier name of `sampler`.

        The prior draws the tokens: what stands in brackets is its default, which None stands for.

        Returns:
            NumPy float32 (B, H, W, 3) in [0, 1].

        Raises:
            ValueError: for no prompt, anything but strings, or an argument that is not for this
                model's prior.
        """
        prompts = [prompts] if isinstance(prompts, str) else prompts
        condition, negative = self.text_encoder.encode(prompts), None
        if negative_prompts is not None:
            self.check_sampling_argument("negative_condition", "negative_prompts")
            if isinstance(negative_prompts, str):
                negative_prompts = [negative_prompts] * len(condition)
            negative = self.text_encoder.encode(negative_prompts)
        return self.generate_images(
            condition,
            images,
            mask,
            negative_condition=negative,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            guidance_scale=guidance_scale,
            guidance_schedule=guidance_schedule,
            num_steps=num_steps,
            sampler=sampler,
            eta=eta,
            seed=seed,
            batch_size=batch_size,
            verbose=verbose,
            method=method,
        )

    def preset_config(self):
        config = super().preset_config()
        if isinstance(self.text_encoder, PretrainedTextEncoder):
            config["config"]["text_encoder"]["config"]["preset"] = SUBDIRECTORY
        return config

    def write_parts(self, folder):
        if isinstance(self.text_encoder, PretrainedTextEncoder):
            self.text_encoder.save(folder / SUBDIRECTORY)

    @classmethod
    def with_overrides(cls, config, overrides):
        encoder = config["text_encoder"]
        if "text_encoder" not in overrides and encoder["registered_name"] == REGISTERED_NAME:
            named = encoder["config"].get("preset")
            if named != SUBDIRECTORY:
                refuse(
                    "text_encoder",
                    f"{named!r} in a preset",
                    f"{SUBDIRECTORY!r}, its own folder, or text_encoder=PretrainedTextEncoder(...)",
                )
        return super().with_overrides(config, overrides)

    def loaded_from(self, location):
        encoder = self.text_encoder
        if isinstance(encoder, PretrainedTextEncoder) and encoder.preset == SUBDIRECTORY:
            encoder.come_with(location)


def _are_texts(values):
    return np.asarray(values).dtype.kind in "OSU"
