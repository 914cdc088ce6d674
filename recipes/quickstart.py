"""Train a Reg-VQ tokenizer on procedural scenes, look at what it learned, keep it as a preset.

    python recipes/quickstart.py

No arguments, no downloads, no GPU: under three minutes on two cores. KERAS_BACKEND chooses
tensorflow, jax or torch. The loss is L1 and the prior regularization; perceptual, contrastive and
adversarial losses need a trained VGG-19 and longer runs: see train_tokenizer.py.
"""

import time
from pathlib import Path

import keras_regvq
from shared.options import command_parser
from shared.running import run

PRESET = "regvq_patch4_256"
IMAGES, EPOCHS, BATCH_SIZE = 1000, 4, 8
OUTPUT = Path("runs/quickstart")


def load_scenes(count):
    """`count` training images, and held-out ones: uint8 (n, 64, 64, 3)."""
    train = keras_regvq.data.scenes(count, size=64, split="train")
    test = keras_regvq.data.scenes(256, size=64, split="test")
    return train["images"], test["images"]


def train_tokenizer(tokenizer, train, test, callbacks=()):
    """Train in place; returns the history of losses and metrics."""
    import keras

    trainer = keras_regvq.training.TokenizerTrainer(tokenizer)
    steps = EPOCHS * len(train) // BATCH_SIZE
    schedule = keras.optimizers.schedules.CosineDecay(0.02, steps, alpha=0.05)
    trainer.compile(keras_regvq.training.Muon(schedule))
    return trainer.fit(
        train,
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        validation_data=test[:64],
        validation_batch_size=BATCH_SIZE,
        callbacks=[keras_regvq.training.NonFiniteLoss(), *callbacks],
    ).history


def main(arguments=None):
    command_parser(__doc__).parse_args(arguments)
    start = time.perf_counter()

    import keras

    from keras_regvq.training import LowUsageWarning, ReconstructionGrid
    from shared.evaluation import evaluate, write_report
    from shared.recipe_card import command_line, recipe_card
    from shared.replaced_results import say_what_is_replaced

    keras.utils.set_random_seed(0)
    print("Drawing scenes ...", flush=True)
    train, test = load_scenes(IMAGES)
    print(f"Building the tokenizer on {keras.backend.backend()} ...", flush=True)
    tokenizer = keras_regvq.from_preset(PRESET)
    print("Training (the first step compiles) ...", flush=True)
    pictures = ReconstructionGrid(test[:8], OUTPUT / "pictures")
    history = train_tokenizer(
        tokenizer, train, test, [pictures, LowUsageWarning(patience=EPOCHS - 1)]
    )
    known = command_line("quickstart", []), "scenes", IMAGES
    tokenizer.save_to_preset(str(OUTPUT / "preset"), card=recipe_card(*known))
    print("Measuring on held-out scenes ...", flush=True)
    numbers, tokens = evaluate(tokenizer, test)
    tokenizer.write_card(OUTPUT / "preset", recipe_card(*known, numbers))
    facts = {
        "Backend": keras.backend.backend(),
        "Tokens per image": " x ".join(map(str, tokenizer.token_grid)),
        "Codes": tokenizer.codebook_size,
        "Parameters": f"{tokenizer.count_params():,}",
        "Steps": f"{EPOCHS * IMAGES // BATCH_SIZE} of {BATCH_SIZE} images",
        "Held-out images": len(test),
        "Time": f"{time.perf_counter() - start:.0f} s",
    }
    say_what_is_replaced(OUTPUT / "results.json", {"Backend": facts["Backend"]})
    page = write_report(
        OUTPUT, "Reg-VQ quickstart", tokenizer, test, numbers, tokens, history, facts
    )
    print(
        f"\n{len(test)} held-out scenes: "
        f"PSNR {numbers['psnr']:.2f} dB, SSIM {numbers['ssim']:.3f}, "
        f"{numbers['codebook_usage']:.1%} of the codes used, "
        f"perplexity {numbers['codebook_perplexity']:.1f}; {facts['Time']} in all.\n"
        f"Report: {page.resolve()}\n"
        f'Preset: keras_regvq.from_preset("{OUTPUT / "preset"}")'
    )


if __name__ == "__main__":
    run(main, "The same command starts again.")
