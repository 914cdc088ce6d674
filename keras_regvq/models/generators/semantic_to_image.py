"""Semantic image synthesis: from a label map to a picture."""

import keras

from keras_regvq.models.generators.image_generator import ImageGenerator, check_fit


@keras.saving.register_keras_serializable(package="keras_regvq")
class SemanticToImage(ImageGenerator):
    """Paints pictures from label maps: an image tokenizer and a prior told of the map.

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
        condition = LabelMapCondition(num_classes=16, image_size=64)
        prior = AutoregressivePrior(256, tokenizer.token_grid, condition=condition)
        model = SemanticToImage(tokenizer, prior)
        model.compile()
        model.fit(keras_regvq.data.load("scenes", fields=("images", "labels")), epochs=10)
        pictures = model.generate(label_maps, top_p=0.95, seed=0)
    """

    condition_field = "labels"

    def __init__(self, tokenizer, prior, dtype=None, name=None, trainable=True):
        super().__init__(tokenizer, prior, dtype=dtype, name=name, trainable=trainable)
        shape = getattr(prior.condition, "shape", None)
        check_fit("condition of shape", shape, tokenizer.image_size)

    def generate(self, label_maps, images=None, mask=None, **sampling):
        """Paint pictures of label maps.

        Args:
            label_maps: integers (B, H, W), labels that the prior knows.
            images, mask: to repaint a part: images (B, H, W, 3), and bool (B, H, W), True where
                they are to change. Tokens whose patch the mask touches are drawn anew, all others
                are kept exactly.
            **sampling: of the prior's `generate`: temperature, top_k, top_p, guidance_scale, seed,
                batch_size, verbose and so on.

        Returns:
            NumPy float32 (B, H, W, 3) in [0, 1].

        Raises:
            ValueError: for a wrong shape or dtype, or an unknown label.
        """
        return self.paint(label_maps, images, mask, **sampling)
