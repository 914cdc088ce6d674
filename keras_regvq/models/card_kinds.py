"""What the cards of this package's models say, kind by kind; `keras_regvq.models` imports it."""

import math

from keras_regvq.models.card_facts import facts_of_kind, usage
from keras_regvq.models.generators.semantic_to_image import SemanticToImage
from keras_regvq.models.generators.text_to_image import TextToImage
from keras_regvq.models.priors.token_prior import TokenPrior
from keras_regvq.models.tokenizers.image_tokenizer import ImageTokenizer
from keras_regvq.models.tokenizers.label_map_tokenizer import LabelMapTokenizer


@facts_of_kind.register(ImageTokenizer)
def _image_tokenizer(model):
    height, width = model.image_size
    shape = f"(1, {height}, {width}, {model.image_channels})"
    return {
        "title": "Image tokenizer",
        "summary": "Turns images into a grid of discrete tokens, and tokens into images.",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["image-tokenizer", "vector-quantization"],
        "usage": usage(
            "tokenizer",
            f'images = np.zeros({shape}, "uint8")  # yours',
            f"tokens = tokenizer.encode(images)  # int32 {(1, *model.token_grid)}",
            "decoded = tokenizer.decode(tokens)  # float32 in [0, 1]",
        ),
        "facts": _tokenizer_facts(model),
    }


@facts_of_kind.register(LabelMapTokenizer)
def _label_map_tokenizer(model):
    height, width = model.image_size
    return {
        "title": "Label map tokenizer",
        "summary": "Turns label maps into a grid of discrete tokens, and tokens into label maps.",
        "pipeline_tag": None,
        "tags": ["vector-quantization"],
        "usage": usage(
            "tokenizer",
            f"{_maps(height, width)}, labels below {model.num_classes}",
            f"tokens = tokenizer.encode(maps)  # int32 {(1, *model.token_grid)}",
        ),
        "facts": {
            "Label maps": f"{height} x {width} pixels, {model.num_classes} labels",
            **_token_facts(model),
        },
    }


@facts_of_kind.register(SemanticToImage)
def _semantic_to_image(model):
    condition = model.prior.condition
    classes = getattr(getattr(condition, "tokenizer", condition), "num_classes", None)
    known = "" if classes is None else f", labels below {classes}"
    return {
        "title": "Images from label maps",
        "summary": "Generates images from label maps, by sampling discrete tokens.",
        "pipeline_tag": "image-to-image",
        "tags": ["semantic-image-synthesis", "vector-quantization"],
        "usage": usage(
            "generator",
            _maps(*model.tokenizer.image_size) + known,
            "images = generator.generate(maps, seed=0)  # float32 in [0, 1]",
        ),
        "facts": {**_tokenizer_facts(model.tokenizer), **_prior_facts(model.prior)},
    }


@facts_of_kind.register(TextToImage)
def _text_to_image(model):
    encoder = type(model.text_encoder).__name__
    return {
        "title": "Images from captions",
        "summary": "Generates images from captions, by sampling discrete tokens.",
        "pipeline_tag": "text-to-image",
        "tags": ["vector-quantization"],
        "usage": usage(
            "generator",
            'captions = ["a tree on the grass"]  # yours',
            "images = generator.generate(captions, seed=0)  # float32 in [0, 1]",
        ),
        "facts": {
            **_tokenizer_facts(model.tokenizer),
            **_prior_facts(model.prior),
            "Captions": f"`{encoder}`, up to {model.text_encoder.max_length} tokens",
        },
    }


@facts_of_kind.register(TokenPrior)
def _prior(model):
    lines = [] if model.condition else ["tokens = prior.generate(num_samples=4, seed=0)"]
    return {
        "title": "Prior over image tokens",
        "summary": "Generates grids of an image tokenizer's tokens.",
        "pipeline_tag": None,
        "tags": ["vector-quantization"],
        "usage": usage("prior", *lines),
        "facts": {
            "Tokens": " x ".join(map(str, model.grid)),
            "Codebook": f"{model.codebook_size:,} codes",
            "Condition": _condition(model),
        },
    }


def _tokenizer_facts(model):
    height, width = model.image_size
    images = f"{height} x {width} pixels, channels: {model.image_channels}"
    return {"Images": images, **_token_facts(model)}


def _token_facts(model):
    grid, quantizer = model.token_grid, model.quantizer
    size = math.ceil(math.prod(grid) * math.log2(quantizer.codebook_size) / 8)
    codes = f"{quantizer.codebook_size:,} codes of width {quantizer.embedding_dim}"
    if quantizer.num_codebooks > 1:
        codes = f"{quantizer.num_codebooks} of {codes} each"
    return {
        "Tokens of an image": f"{' x '.join(map(str, grid))}, {size:,} bytes",
        "Codebook": codes,
        "Quantizer": f"`{type(quantizer).__name__}`",
    }


def _prior_facts(prior):
    return {
        "Prior": f"`{type(prior).__name__}`, {prior.count_params():,} parameters",
        "Condition": _condition(prior),
    }


def _condition(prior):
    return "none" if prior.condition is None else f"`{type(prior.condition).__name__}`"


def _maps(height, width):
    return f'maps = np.zeros((1, {height}, {width}), "int32")  # yours'
