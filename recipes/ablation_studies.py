"""What the studies of the ablation vary, and how large its models are.

The weights of the perceptual and the contrastive loss belong to a feature network. On scenes at 32
pixels, 375 steps with EfficientNet's and weights of 0.1 and 0.01 left Reg-VQ at 14.5 dB and 74 %
usage, 0.01 and 0.1 at 14.8 dB and 93 %, 0.01 and 0.01 at 18.5 dB and 99 %.
"""

COLUMNS = {
    "psnr": ("PSNR (dB)", "{:.2f}"),
    "ssim": ("SSIM", "{:.3f}"),
    "codebook_usage": ("usage", "{:.1%}"),
    "codebook_perplexity": ("perplexity", "{:.1f}"),
    "reconstruction_frechet_distance": ("Frechet distance, reconstructed", "{:.2f}"),
    "reconstruction_kernel_distance": ("kernel distance, reconstructed", "{:.4f}"),
    "autoregressive_bits_per_token": ("bits a position, AR prior", "{:.2f}"),
    "autoregressive_generation_kernel_distance": ("kernel distance, AR prior", "{:.4f}"),
    "diffusion_bits_per_token": ("bits a position, diffusion prior (bound)", "{:.2f}"),
    "diffusion_generation_kernel_distance": ("kernel distance, diffusion prior", "{:.4f}"),
}

SCALES = {
    "cpu": {
        "image_size": 32, "patch_size": 4, "base_channels": 128, "channel_multipliers": (1,),
        "num_res_blocks": 0, "latent_channels": 64, "codes": 256, "embedding_dim": 16,
        "logits": "cosine", "steps": 800, "batch_size": 16, "optimizer": "muon",
        "learning_rate": 0.02, "prior_layers": 2, "prior_width": 128, "prior_steps": 400,
        "examples": 4000, "test": 512, "adversary": False, "perceptual_weight": 0.01,
        "contrastive_weight": 0.01,
    },
    "paper": {
        "image_size": 256, "patch_size": 1, "base_channels": 128,
        "channel_multipliers": (1, 1, 2, 2, 4), "num_res_blocks": 1, "latent_channels": 256,
        "codes": 1024, "embedding_dim": 256, "logits": "linear", "steps": 250_000, "batch_size": 8,
        "optimizer": "adam", "learning_rate": 3.6e-5,
        "prior_layers": 24, "prior_width": 1024, "prior_steps": 250_000,
        "examples": None, "test": 5000, "adversary": True, "perceptual_weight": 1.0,
        "contrastive_weight": 0.1,
    },
}  # fmt: skip

# By the number of codes that they come close to: the FSQ paper's advice.
FINITE_LEVELS = {
    256: (8, 6, 5), 1024: (8, 5, 5, 5), 4096: (7, 5, 5, 5, 5), 16384: (8, 8, 8, 6, 5),
}  # fmt: skip


def studies(codes):
    """{study: {variant: settings}}, all of a variant's settings, so that equal ones are seen."""
    full = {
        "quantizer": "regvq", "codes": codes, "contrastive": "probabilistic", "mask_ratio": 0.4,
        "prior_weight": 0.01, "prior_scope": "batch", "prior_estimator": "soft",
    }  # fmt: skip
    vqgan, gumbel = (
        {"quantizer": name, "codes": codes, "contrastive": None} for name in ("vq", "gumbel")
    )
    ladder = {
        "VQ-GAN": vqgan,
        "Gumbel-VQ": gumbel,
        "+ prior": {**full, "mask_ratio": 0.0, "contrastive": None},
        "+ mask": {**full, "contrastive": None},
        "+ contrastive": {**full, "contrastive": "plain"},
        "+ PCL (Reg-VQ)": full,
    }
    upkeep = {
        **vqgan, "normalize": True, "ema": 0.99, "codebook_start": "kmeans",
        "dead_code_threshold": 0.5,
    }  # fmt: skip
    parts = {"mask_ratio": 0.0, "prior_weight": 0.0, "prior_target": "uniform", "scale": 10.0}
    hybrid = {**upkeep, **parts, "quantizer": "masked_vq"}
    sizes = [codes * factor for factor in (1, 2, 4, 8, 16)]
    quantizers = {
        "VQ-GAN": vqgan,
        "VQ, cosine": {**vqgan, "normalize": True},
        "VQ, cosine, rotation trick": {**vqgan, "normalize": True, "rotation_trick": True},
        "VQ, cosine, EMA, k-means start, dead codes replaced": upkeep,
        "VQ, cosine, projected to 8 dimensions": {
            **vqgan,
            "normalize": True,
            "projection_dim": 8,
        },
        "SimVQ": {**vqgan, "quantizer": "simvq"},
        "IBQ": {**vqgan, "quantizer": "ibq"},
        "Gumbel-VQ": gumbel,
        "Reg-VQ without its contrastive loss": {**full, "contrastive": None},
        "FSQ": {
            "quantizer": "fsq",
            "levels": list(FINITE_LEVELS.get(codes, (codes,))),
            "contrastive": None,
        },
        "LFQ": {**vqgan, "quantizer": "lfq"},
        "BSQ": {**vqgan, "quantizer": "lfq", "spherical": True},
        # As many bits a position: of 256 codes, two stages of 16, each with its own codebook.
        "Residual VQ, 2 stages": {**vqgan, "quantizer": "residual", "stages": 2},
    }
    return {
        "ladder": ladder,
        "mask": {
            str(ratio): {**full, "mask_ratio": ratio} for ratio in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
        },
        "codebook": {
            f"{name}, {size}": {**settings, "codes": size}
            for name, settings in (("VQ-GAN", vqgan), ("Reg-VQ", full))
            for size in sizes
        },
        "prior": {
            f"{scope}, {estimator}, {weight}": {
                **full,
                "prior_scope": scope,
                "prior_estimator": estimator,
                "prior_weight": weight,
            }
            for scope in ("image", "batch")
            for estimator in ("hard", "soft")
            for weight in (0.01, 0.1)
        },
        "contrastive": {
            f"{kind}, weight x {factor}": {
                **full,
                "contrastive": kind,
                **({"contrastive_factor": factor} if factor != 1 else {}),
            }
            for factor in (0.1, 1, 10)
            for kind in ("plain", "probabilistic")
        },
        "length": {
            "VQ-GAN": vqgan,
            "Reg-VQ": full,
            "VQ-GAN, generative prior x 4": {**vqgan, "prior_steps_factor": 4},
            "Reg-VQ, generative prior x 4": {**full, "prior_steps_factor": 4},
            "VQ-GAN, tokenizer x 4": {**vqgan, "steps_factor": 4},
            "Reg-VQ, tokenizer x 4": {**full, "steps_factor": 4},
        },
        "finite": {
            "VQ-GAN": vqgan,
            "Reg-VQ without its contrastive loss": {**full, "contrastive": None},
            **{
                f"FSQ, {size}": {
                    "quantizer": "fsq",
                    "levels": list(levels),
                    "contrastive": None,
                }
                for size, levels in FINITE_LEVELS.items()
            },
        },
        "quantizers": quantizers,
        "quantizers_longer": {
            name: {**settings, "steps_factor": 4} for name, settings in quantizers.items()
        },
        "hybrids": {
            "VQ, cosine, EMA, k-means start, dead codes replaced": upkeep,
            "+ prior": {**hybrid, "prior_weight": 0.01},
            "+ prior towards the running use": {
                **hybrid,
                "prior_weight": 0.01,
                "prior_target": "running",
            },
            # At the scale of 10 a code that is drawn is often far from the nearest one.
            "+ mask": {**hybrid, "mask_ratio": 0.4, "scale": 30.0},
            "+ mask, prior": {**hybrid, "mask_ratio": 0.4, "prior_weight": 0.01, "scale": 30.0},
        },
        "search": {
            "VQ-GAN": vqgan,
            "Reg-VQ": full,
            "mask 0.1": {**full, "mask_ratio": 0.1},
            "no mask at last": {**full, "at_last": {"mask_ratio": 0.0}},
            "no prior at last": {**full, "at_last": {"prior_weight": 0.0}},
            "neither at last": {**full, "at_last": {"mask_ratio": 0.0, "prior_weight": 0.0}},
            "temperature 0.5": {**full, "temperature": 0.5},
            "temperature 0.5 at last": {**full, "at_last": {"temperature": 0.5}},
            "logits x 4 to begin with": {**full, "logits_factor": 4},
            "linear logits": {**full, "logits": "linear"},
            "codes of deviation 0.1": {**full, "codebook_deviation": 0.1},
            "prior weight 0.001": {**full, "prior_weight": 0.001},
        },
    }
