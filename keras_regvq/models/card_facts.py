"""What a model's card says of the model itself: its kind, its sizes, and how it is used."""

import math


def card_facts(model):
    """A dict as `keras_regvq.files.model_card.card_text` takes it, of a model with presets."""
    # These modules import `preset_model`, which imports this one.
    from keras_regvq.models.generators.semantic_to_image import SemanticToImage
    from keras_regvq.models.generators.text_to_image import TextToImage
    from keras_regvq.models.priors.token_prior import TokenPrior
    from keras_regvq.models.tokenizers.image_tokenizer import ImageTokenizer
    from keras_regvq.models.tokenizers.label_map_tokenizer import LabelMapTokenizer

    kinds = {
        ImageTokenizer: _image_tokenizer,
        LabelMapTokenizer: _label_map_tokenizer,
        SemanticToImage: _semantic_to_image,
        TextToImage: _text_to_image,
        TokenPrior: _prior,
    }
    own = next((make for kind, make in kinds.items() if isinstance(model, kind)), _other)(model)
    own["facts"] = {
        "Class": f"`{type(model).__name__}`",
        **own["facts"],
        "Parameters": f"{model.count_params():,}",
    }
    own["summary"] += (
        " A preset of the Python package keras_regvq, for Keras 3 on TensorFlow, JAX and PyTorch."
    )
    return own


def _image_tokenizer(model):
    height, width = model.image_size
    shape = f"(1, {height}, {width}, {model.image_channels})"
    return {
        "title": "Image tokenizer",
        "summary": "Turns images into a grid of discrete tokens, and tokens into images.",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["image-tokenizer", "vector-quantization"],
        "usage": _usage(
            "tokenizer",
            f'images = np.zeros({shape}, "uint8")  # yours',
            f"tokens = tokenizer.encode(images)  # int32 {(1, *model.token_grid)}",
            "decoded = tokenizer.decode(tokens)  # float32 in [0, 1]",
        ),
        "facts": _tokenizer_facts(model),
    }


def _label_map_tokenizer(model):
    height, width = model.image_size
    return {
        "title": "Label map tokenizer",
        "summary": "Turns label maps into a grid of discrete tokens, and tokens into label maps.",
        "pipeline_tag": None,
        "tags": ["vector-quantization"],
        "usage": _usage(
            "tokenizer",
            f"{_maps(height, width)}, labels below {model.num_classes}",
            f"tokens = tokenizer.encode(maps)  # int32 {(1, *model.token_grid)}",
        ),
        "facts": {
            "Label maps": f"{height} x {width} pixels, {model.num_classes} labels",
            **_token_facts(model),
        },
    }


def _semantic_to_image(model):
    condition = model.prior.condition
    classes = getattr(getattr(condition, "tokenizer", condition), "num_classes", None)
    known = "" if classes is None else f", labels below {classes}"
    return {
        "title": "Images from label maps",
        "summary": "Generates images from label maps, by sampling discrete tokens.",
        "pipeline_tag": "image-to-image",
        "tags": ["semantic-image-synthesis", "vector-quantization"],
        "usage": _usage(
            "generator",
            _maps(*model.tokenizer.image_size) + known,
            "images = generator.generate(maps, seed=0)  # float32 in [0, 1]",
        ),
        "facts": {**_tokenizer_facts(model.tokenizer), **_prior_facts(model.prior)},
    }


def _text_to_image(model):
    encoder = type(model.text_encoder).__name__
    return {
        "title": "Images from captions",
        "summary": "Generates images from captions, by sampling discrete tokens.",
        "pipeline_tag": "text-to-image",
        "tags": ["vector-quantization"],
        "usage": _usage(
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


def _prior(model):
    lines = [] if model.condition else ["tokens = prior.generate(num_samples=4, seed=0)"]
    return {
        "title": "Prior over image tokens",
        "summary": "Generates grids of an image tokenizer's tokens.",
        "pipeline_tag": None,
        "tags": ["vector-quantization"],
        "usage": _usage("prior", *lines),
        "facts": {
            "Tokens": " x ".join(map(str, model.grid)),
            "Codebook": f"{model.codebook_size:,} codes",
            "Condition": _condition(model),
        },
    }


def _other(model):
    """Of a class that is not one of this package's kinds."""
    return {
        "title": type(model).__name__,
        "summary": "A model.",
        "pipeline_tag": None,
        "tags": [],
        "usage": _usage("model"),
        "facts": {},
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


def _usage(name, *lines):
    needed = "import keras_regvq\n"
    if any("np." in line for line in lines):
        needed = "import numpy as np\n\n" + needed
    return "\n".join([needed, f"{name} = keras_regvq.{{preset}}", *lines])
