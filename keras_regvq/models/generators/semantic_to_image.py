"""Semantic image synthesis: from a label map to an image."""

import keras

from keras_regvq.models.generators.image_generator import ImageGenerator, check_fit


@keras.saving.register_keras_serializable(package="keras_regvq")
class SemanticToImage(ImageGenerator):
    """Generates images from label maps: an image tokenizer, and a prior with the map as condition.

    `fit` trains the prior; the tokenizer is frozen. Its data are dicts of "images" (B, H, W, 3)
    and "labels" (B, H, W), tokenized on the fly, or of "tokens" (B, h, w) and "labels", which
    `tokenize` makes once. Logged are "loss" and what the prior logs.

    Args:
        tokenizer: a trained ImageTokenizer.
        prior: an AutoregressivePrior (or DiffusionPrior) over its tokens, whose condition takes
            label maps of the tokenizer's image size.

    Raises:
        ValueError: if the two do not fit each other.

    Example:
        ```python
        data = keras_regvq.data.scenes(8, size=64)
        tokenizer = keras_regvq.from_preset("regvq_scenes_64")  # 16 x 16 tokens below 512
        condition = keras_regvq.models.LabelMapCondition(16, image_size=64, prefix_grid=(4, 4))
        prior = keras_regvq.models.AutoregressivePrior(512, (16, 16), 1, 2, 32, condition)
        model = keras_regvq.models.SemanticToImage(tokenizer, prior)
        model.compile()
        model.fit({"images": data["images"], "labels": data["labels"]}, batch_size=4, epochs=1)
        generated = model.generate(data["labels"][:2], top_p=0.95, seed=0)  # (2, 64, 64, 3)
        ```
    """

    condition_field = "labels"

    def __init__(self, tokenizer, prior, dtype=None, name=None, trainable=True):
        super().__init__(tokenizer, prior, dtype=dtype, name=name, trainable=trainable)
        shape = getattr(prior.condition, "shape", None)
        check_fit("condition of shape", shape, tokenizer.image_size)

    def generate(
        self,
        label_maps,
        images=None,
        mask=None,
        negative_condition=None,
        temperature=None,
        top_k=None,
        top_p=None,
        guidance_scale=None,
        guidance_schedule=None,
        num_steps=None,
        sampler=None,
        eta=None,
        seed=None,
        batch_size=None,
        verbose=None,
        method=None,
    ):
        """Generate images of label maps.

        Args:
            label_maps: integers (B, H, W), labels in [0, num_classes) of the condition.
            images, mask: to regenerate a part: images (B, H, W, 3), and bool (B, H, W), True where
                they are to change. Tokens whose patch the mask touches are drawn anew, all others
                are kept exactly.
            negative_condition: DiffusionPrior: label maps to be guided away from, as many; None:
                from no condition at all. Needs a guidance_scale other than 1.
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
            batch_size: images made at once [32].
            verbose: whether a progress bar shows; "auto": if there are several batches ["auto"].
            method: an earlier name of `sampler`.

        The prior draws the tokens: what stands in brackets is its default, which None stands for.

        Returns:
            NumPy float32 (B, H, W, 3) in [0, 1].

        Raises:
            ValueError: for a wrong shape or dtype, an unknown label, or an argument that is not for
                this model's prior.
        """
        return self.generate_images(
            label_maps,
            images,
            mask,
            negative_condition=negative_condition,
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
