"""The guide on choosing a quantizer runs, and what it says holds for the cells it reads."""

import re
from pathlib import Path

import numpy as np
import pytest

NAME = "choosing_a_quantizer"
DATA = ("scenes", "emoji")


@pytest.fixture(scope="module")
def guide(run_guide):
    return run_guide(NAME)


def test_it_makes_the_pages_pictures(guide):
    page = (Path(__file__).parent.parent.parent / "guides" / f"{NAME}.md").read_text()
    assert [picture.name for picture in guide[2]] == re.findall(r"\(pictures/([^)]+)\)", page)


@pytest.mark.parametrize("data", DATA)
def test_the_prior_brings_all_codes_to_life_in_every_seed(guide, data):
    measured, ladder = guide[0]["measured"], guide[0]["variants"]["ladder"]
    for name in ("codebook_usage", "codebook_perplexity", "psnr"):
        others = np.stack([measured(ladder[v], data, name) for v in ("VQ-GAN", "Gumbel-VQ")])
        regularized = np.array(measured(ladder["+ PCL (Reg-VQ)"], data, name))
        assert others.shape == (2, 3) and (regularized > others).all()


@pytest.mark.parametrize("data", DATA)
def test_what_it_says_of_the_thirteen_quantizers_holds_in_every_seed(guide, data):
    cells, variants = guide[0]["quantizer_study"], guide[0]["variants"]["quantizers"]

    def numbers(name):
        found = {v: guide[0]["measured"](s, data, name, cells) for v, s in variants.items()}
        assert {len(seeds) for seeds in found.values()} == {3} and len(found) == 13
        return {variant: np.array(seeds) for variant, seeds in found.items()}

    psnr, bits = numbers("psnr"), numbers("autoregressive_bits_per_token")
    regvq, cosine = "Reg-VQ without its contrastive loss", "VQ, cosine"
    assert max(psnr, key=lambda variant: psnr[variant].mean()) == "SimVQ"
    assert (psnr[regvq] > psnr["VQ-GAN"]).all()
    for better in ("SimVQ", cosine, "FSQ", "Residual VQ, 2 stages"):
        assert (psnr[better] > psnr[regvq] + 0.5).all()
    assert (abs(bits[cosine] - bits[regvq]) < 0.3).all()
    for prior in ("autoregressive", "diffusion"):
        distances = numbers(f"{prior}_generation_kernel_distance")
        for variant in variants:
            difference = distances[variant] - distances[regvq]
            assert not ((difference < 0).all() and -difference.mean() > difference.std(ddof=1))


def test_after_longer_training_vqgans_quantizer_passes_regvqs(guide):
    cells, measured = guide[0]["quantizer_study"], guide[0]["measured"]

    def numbers(study, name):
        found = {
            variant: measured(settings, "scenes", name, cells)[0]
            for variant, settings in guide[0]["variants"][study].items()
        }
        assert len(found) == 13
        return found

    short, long = numbers("quantizers", "psnr"), numbers("quantizers_longer", "psnr")
    gains = {variant: long[variant] - short[variant] for variant in long}
    assert max(gains, key=gains.get) == "VQ-GAN" and min(gains, key=gains.get) == "IBQ"
    assert 1.35 < sorted(gains.values())[1] and max(gains.values()) < 2.25
    best = ["SimVQ", "Residual VQ, 2 stages", "FSQ"]
    best += ["VQ, cosine, EMA, k-means start, dead codes replaced"]
    assert sorted(long, key=long.get)[-4:] == best[::-1]
    regvq, name = "Reg-VQ without its contrastive loss", "autoregressive_bits_per_token"
    assert 0.35 < long["VQ-GAN"] - long[regvq] < 0.5
    bits = numbers("quantizers_longer", name)
    assert -0.7 < bits["VQ-GAN"] - bits[regvq] < -0.6


@pytest.mark.parametrize("data", DATA)
def test_what_it_says_of_regvqs_parts_holds_in_every_seed(guide, data):
    cells, ladder = guide[0]["quantizer_study"], guide[0]["variants"]["ladder"]

    def gain(name, variant, over):
        found = [guide[0]["measured"](ladder[v], data, name, cells) for v in (variant, over)]
        assert [len(seeds) for seeds in found] == [3, 3]
        return np.subtract(*found)

    assert (gain("psnr", "+ prior", "VQ-GAN") > 0.5).all()
    assert (gain("psnr", "+ mask", "+ prior") < -0.3).all()
    assert (gain("autoregressive_bits_per_token", "+ mask", "+ prior") < -0.2).all()
    for variant in ("+ contrastive", "+ PCL (Reg-VQ)"):
        assert (abs(gain("psnr", variant, "+ mask")) < 0.11).all()
    prior = {"emoji": "autoregressive", "scenes": "diffusion"}[data]
    assert (gain(f"{prior}_generation_kernel_distance", "+ mask", "+ prior") < 0).all()


@pytest.mark.parametrize("data", DATA)
def test_the_default_prior_has_the_highest_fidelity_and_leaves_no_code_unused(guide, data):
    measured, priors = guide[0]["measured"], guide[0]["variants"]["prior"]
    psnr = {name: measured(settings, data, "psnr")[0] for name, settings in priors.items()}
    assert max(psnr, key=psnr.get) == "batch, soft, 0.01"
    assert min(measured(priors[name], data, "codebook_usage")[0] for name in priors) > 0.99


def test_the_presets_codes_are_all_in_use(guide):
    assert float(re.search(r"usage ([\d.]+)%", guide[1])[1]) > 95


def test_a_contrastive_weight_too_large_costs_the_plain_loss_more(guide):
    measured, losses = guide[0]["measured"], guide[0]["variants"]["contrastive"]
    for data in DATA:
        plain, probabilistic = (
            np.array(measured(losses[f"{kind}, weight x 10"], data, "psnr"))
            for kind in ("plain", "probabilistic")
        )
        assert plain.shape == probabilistic.shape and (probabilistic > plain + 0.5).all()


def test_larger_codebooks_are_used_by_the_regularized_quantizer_only(guide):
    used = guide[0]["used"]
    for data in DATA:
        assert all(np.diff(used[f"Reg-VQ, {data}"]) > 0) and max(used[f"VQ-GAN, {data}"]) < 120
