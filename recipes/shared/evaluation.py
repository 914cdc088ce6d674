"""Numbers and report pages, shared by the recipes."""

import base64
import html
import io
import json
from pathlib import Path

from keras_regvq.backend.processes import is_first_process
from keras_regvq.files.replacing import write_text
from keras_regvq.metrics import PSNR, SSIM, CodebookPerplexity, CodebookUsage
from keras_regvq.pictures import code_counts, codebook_picture, curves, image_grid, usage_histogram


def evaluate(tokenizer, images, batch_size=32):
    """Measure reconstructions and codebook use.

    Args:
        tokenizer: ImageTokenizer.
        images: uint8 (n, H, W, 3), held out.

    Returns:
        (dict of floats: psnr in dB, ssim, codebook_usage in [0, 1], codebook_perplexity;
        tokens int32 (n, h, w)).
    """
    tokens = tokenizer.encode(images, batch_size)
    codes = {"codebook_size": tokenizer.codebook_size}
    codes["num_codebooks"] = tokenizer.quantizer.num_codebooks
    metrics = {
        "psnr": PSNR(),
        "ssim": SSIM(),
        "codebook_usage": CodebookUsage(**codes),
        "codebook_perplexity": CodebookPerplexity(**codes),
    }
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        batch_tokens = tokens[start : start + batch_size]
        reconstructions = tokenizer.decode(batch_tokens, batch_size)
        for name in ("psnr", "ssim"):
            metrics[name].update_state(batch.astype("float32") / 255.0, reconstructions)
        for name in ("codebook_usage", "codebook_perplexity"):
            metrics[name].update_state(batch_tokens)
    return {name: float(metric.result()) for name, metric in metrics.items()}, tokens


def write_report(directory, title, tokenizer, images, numbers, tokens, history, facts):
    """Write index.html and results.json.

    Args:
        directory: where to.
        title: heading.
        images: held-out images; the first 12 are shown with their reconstructions.
        numbers, tokens: what `evaluate` gave.
        history: dict of curves, as `fit(...).history`.
        facts: dict of what else to say: settings, times.

    Returns:
        Path of the page.
    """
    counts = code_counts(tokenizer, tokens)
    shown = images[:12]
    reconstructions = tokenizer.decode(tokens[:12])
    scale = max(1, 128 // images.shape[1])
    groups = {
        "losses (weighted)": ["loss", "l1", "perceptual", "contrastive", "prior"],
        "PSNR of reconstructions (dB)": ["psnr"],
        "codebook": ["codebook_perplexity"],
    }
    pictures = {
        "Held-out images and their reconstructions": image_grid([shown, reconstructions], scale),
        "Training": curves(history, groups),
        "How often each code is used on held-out images": usage_histogram(counts),
        "The codebook: each code decoded to a patch": codebook_picture(tokenizer),
    }
    return write_page(directory, title, numbers, facts, pictures, history)


def write_page(directory, title, numbers, facts, pictures, history=None):
    """Write index.html, a page of numbers, pictures and settings, and results.json.

    Args:
        directory: where to; made if missing.
        title: heading.
        numbers: dict of floats, what was measured.
        facts: dict of what else to say: settings, times.
        pictures: dict of heading -> PIL image.
        history: dict of curves, kept in results.json.

    Returns:
        Path of the page, which one of several processes writes.
    """
    directory = Path(directory)
    if not is_first_process():
        return directory / "index.html"
    results = {"numbers": numbers, "facts": facts, "history": history}
    write_text(directory / "results.json", json.dumps(results, indent=2))
    sections = [
        f'<h2>{html.escape(name)}</h2><img alt="{html.escape(name)}" src="{data_uri(picture)}">'
        for name, picture in pictures.items()
    ]
    rows = {}
    for name, value in numbers.items():
        text, form = LABELS.get(name, (name.replace("_", " "), "{:.4g}"))
        rows[text] = form.format(value)
    page = PAGE.format(
        title=html.escape(title),
        numbers=_table(rows),
        facts=_table(facts),
        sections="\n".join(sections),
    )
    path = directory / "index.html"
    write_text(path, page)
    return path


LABELS = {
    "images": ("Images measured", "{:,}"),
    "psnr": ("PSNR", "{:.2f} dB"),
    "ssim": ("SSIM", "{:.3f}"),
    "codebook_usage": ("Codebook usage", "{:.1%}"),
    "codebook_perplexity": ("Codebook perplexity", "{:.1f}"),
    "perceptual_distance": ("Perceptual distance", "{:.4f}"),
    "frechet_distance": ("Frechet distance (not FID)", "{:.2f}"),
    "kernel_distance": ("Kernel distance", "{:.4f}"),
    "precision": ("Precision", "{:.1%}"),
    "recall": ("Recall", "{:.1%}"),
    "bits_per_token": ("Bits per token", "{:.3f} bits"),
    "cross_entropy": ("Cross-entropy", "{:.4f} nats"),
    "loss": ("Loss", "{:.4f}"),
}


def _table(rows):
    cells = "".join(
        f"<tr><th>{html.escape(str(name))}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in rows.items()
    )
    return f"<table>{cells}</table>"


def data_uri(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto;
       padding: 0 1rem }}
h1, h2 {{ line-height: 1.2 }}
img {{ max-width: 100%; display: block }}
table {{ border-collapse: collapse; margin-bottom: 1rem }}
th, td {{ text-align: left; padding: .2rem 1rem .2rem 0; border-bottom: 1px solid #ddd }}
th {{ font-weight: 600 }}
</style>
<h1>{title}</h1>
<h2>Numbers</h2>
{numbers}
{sections}
<h2>Settings</h2>
{facts}
</html>
"""
