"""The guide to Reg-VQ's parts runs, and what it says about its numbers holds."""

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.seldom


@pytest.fixture(scope="module")
def guide(run_guide):
    return run_guide("regvq_part_by_part")


def test_codes_that_nothing_chooses_never_move(guide):
    namespace, _, _ = guide
    moved = (namespace["start"] != namespace["end"]).any(axis=-1)
    used = namespace["clump"].used()
    assert (moved | ~used).all(), "a used code has learned"
    assert moved.sum() < namespace["N"] / 2
    assert used.sum() < namespace["spread"].used().sum() < namespace["N"]


def test_the_prior_revives_codes_that_the_mask_alone_and_vq_leave_dead(guide):
    used = {name: counts[-1] for name, counts in guide[0]["curves"].items()}
    without = used["Reg-VQ, no prior"]
    assert used["VQ"] < without < used["Reg-VQ, soft prior 0.01"] < used["Reg-VQ, soft prior 1"]
    assert without < used["Reg-VQ, hard prior 0.01"]
    assert used["Reg-VQ, soft prior 1"] > 2 * without


def test_draws_follow_the_predicted_distribution(guide):
    namespace, _, _ = guide
    logits = namespace["logits"].astype("float64")
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(namespace["predicted"], expected, atol=1e-6)
    # 4,096 draws: four standard deviations.
    assert (np.abs(namespace["drawn"] - expected) < 4 * np.sqrt(expected / 4096)).all()


def test_masks_have_the_exact_number_of_positions_and_differ(guide):
    masks = [step["mask"] for step in guide[0]["steps"]]
    assert [mask.sum() for mask in masks] == [102, 102, 102]
    assert (masks[0] != masks[1]).any() and (masks[1] != masks[2]).any()
    assert "sampled at inference: 0" in guide[1]


def test_formulas_agree_with_the_librarys_gradients(guide):
    namespace, printed, _ = guide
    assert printed.count("gradient and formula differ by less than 1e-6") == 2
    assert namespace["largest"] < 1e-4
    assert float(namespace["by_the_cut"]) == pytest.approx(float(namespace["direct"]), rel=1e-4)
    assert "all weights zero: loss 0.0, largest gradient 0.0" in printed


def test_a_larger_perturbation_is_pulled_less_and_none_not_at_all(guide):
    for values in guide[0]["pulls"].values():
        assert (np.diff(values) < 0).all() and values[-1] > 0
    assert "where w' is exactly 0: 0.0" in guide[1]


def test_the_image_scope_cannot_go_below_its_floor(guide):
    namespace, _, _ = guide
    assert namespace["floor"][0] == pytest.approx(np.log(1024 / 256))
    assert namespace["image_kl"] > namespace["floor"][0] > namespace["batch_kl"][-1]


def test_the_guide_names_its_backend(guide):
    assert f"on {keras.backend.backend()}" in guide[1]
