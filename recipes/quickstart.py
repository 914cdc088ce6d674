"""Train a Reg-VQ tokenizer on procedural scenes, look at what it learned, keep it as a preset.

    python recipes/quickstart.py

No arguments, no downloads, no GPU: under five minutes on two cores. KERAS_BACKEND chooses
tensorflow, jax or torch. The loss is L1 and the prior regularization; perceptual, contrastive and
adversarial losses need a trained VGG-19 and longer runs: see train_tokenizer.py.
"""

import time
from pathlib import Path

import keras

import keras_regvq
from evaluation import evaluate, write_report
from keras_regvq.training import LowUsageWarning, ReconstructionGrid, TokenizerTrainer

PRESET = "regvq_f4_256"
STEPS_PER_EPOCH, EPOCHS, BATCH_SIZE = 200, 4, 8
OUTPUT = Path("runs/quickstart")


def paint_scenes():
    """Training and held-out images, uint8 (n, 64, 64, 3)."""
    train = keras_regvq.data.scenes(STEPS_PER_EPOCH * BATCH_SIZE, size=64, split="train")
    test = keras_regvq.data.scenes(256, size=64, split="test")
    return train["images"], test["images"]


def train_tokenizer(tokenizer, train, test, callbacks=()):
    """Train in place; returns the history of losses and metrics."""
    trainer = TokenizerTrainer(tokenizer)
    schedule = keras.optimizers.schedules.CosineDecay(2e-3, EPOCHS * STEPS_PER_EPOCH, alpha=0.05)
    trainer.compile(keras.optimizers.Adam(schedule))
    return trainer.fit(
        train,
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        validation_data=test[:64],
        validation_batch_size=BATCH_SIZE,
        callbacks=list(callbacks),
    ).history


def main():
    start = time.perf_counter()
    keras.utils.set_random_seed(0)
    print("Painting scenes ...", flush=True)
    train, test = paint_scenes()
    print(f"Building the tokenizer on {keras.backend.backend()} ...", flush=True)
    tokenizer = keras_regvq.from_preset(PRESET)
    print("Training (the first step compiles) ...", flush=True)
    pictures = ReconstructionGrid(test[:8], OUTPUT / "pictures")
    history = train_tokenizer(
        tokenizer, train, test, [pictures, LowUsageWarning(patience=EPOCHS - 1)]
    )
    print("Measuring on held-out scenes ...", flush=True)
    numbers, tokens = evaluate(tokenizer, test)
    tokenizer.save_to_preset(str(OUTPUT / "preset"))
    facts = {
        "Backend": keras.backend.backend(),
        "Tokens per image": "{} x {}".format(*tokenizer.token_grid),
        "Codes": tokenizer.codebook_size,
        "Parameters": f"{tokenizer.count_params():,}",
        "Steps": f"{EPOCHS * STEPS_PER_EPOCH} of {BATCH_SIZE} images",
        "Time": f"{time.perf_counter() - start:.0f} s",
    }
    page = write_report(
        OUTPUT, "Reg-VQ quickstart", tokenizer, test, numbers, tokens, history, facts
    )
    print(
        f"\nHeld-out scenes: PSNR {numbers['psnr']:.2f} dB, SSIM {numbers['ssim']:.3f}, "
        f"{numbers['codebook_usage']:.1%} of the codes used, "
        f"perplexity {numbers['codebook_perplexity']:.1f}; {facts['Time']} in all.\n"
        f"Report: {page.resolve()}\n"
        f'Preset: keras_regvq.from_preset("{OUTPUT / "preset"}")'
    )


if __name__ == "__main__":
    main()
