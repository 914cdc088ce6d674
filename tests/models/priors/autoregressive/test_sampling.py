import keras
import numpy as np
import pytest

from keras_regvq import models
from keras_regvq.models import batched_function as inference
from keras_regvq.models.priors.autoregressive.sampling import CachedDecoder, segments
from tests.models.priors.tiny_prior import (
    CLASSES,
    CODES,
    GRID,
    logits_of,
    make_map_prior,
    make_prior,
    random_maps,
    random_tokens,
)

LENGTH = GRID[0] * GRID[1]


@pytest.fixture(scope="module")
def prior():
    return make_map_prior(condition_dropout=0.1)


@pytest.fixture(scope="module")
def class_prior():
    return make_prior(models.ClassCondition(CLASSES))


@pytest.fixture(scope="module")
def free_prior():
    return make_prior()


def cached_logits(prior, tokens, condition=None, guided=False):
    """The cached decoder's logits (B, L, N) along given tokens."""
    if condition is not None:
        condition = keras.ops.convert_to_tensor(condition, "int32")
    rows = np.asarray(tokens, "int32").reshape(len(tokens), -1)
    previous = [np.full(len(rows), prior.codebook_size, "int32"), *rows.T]
    decoder = CachedDecoder(prior, len(tokens), condition, guided)
    collected = []
    for start, stop in segments(prior.length):
        recent = decoder.empty_cache(stop - start)
        for index in range(stop - start):
            token = keras.ops.convert_to_tensor(previous[start + index])
            logits, recent = decoder.step(token, start, index, recent)
            collected.append(keras.ops.convert_to_numpy(logits))
        decoder.settle(recent)
    return np.stack(collected, axis=1)


@pytest.mark.parametrize(
    "name, condition",
    [
        ("prior", random_maps()),
        pytest.param("class_prior", [0, 4, 2], marks=pytest.mark.seldom),
        pytest.param("free_prior", None, marks=pytest.mark.seldom),
    ],
)
def test_cached_logits_equal_the_full_forward_pass_at_every_position(request, name, condition):
    prior, tokens = request.getfixturevalue(name), random_tokens()
    full = logits_of(prior, tokens, condition)
    assert np.abs(full).max() > 0.3
    np.testing.assert_allclose(cached_logits(prior, tokens, condition), full, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*quantiz")
@pytest.mark.parametrize("mode", ["int8", pytest.param("int4", marks=pytest.mark.seldom)])
def test_a_quantized_priors_cached_logits_are_those_of_its_forward_pass(mode):
    prior, tokens = make_map_prior(num_layers=1), random_tokens()
    prior.quantize(mode)
    layers = prior.blocks[0].parts()
    assert layers.query.quantization_mode == layers.feedforward_hidden.quantization_mode == mode
    assert prior.head.quantization_mode == mode
    full = logits_of(prior, tokens, random_maps())
    found = cached_logits(prior, tokens, random_maps())
    # In int8 the forward pass rounds what goes into a layer too, the cached one its weights alone.
    bound = 0.03 if mode == "int8" else 1e-4
    assert np.linalg.norm(found - full) < bound * np.linalg.norm(full)


@pytest.fixture
def float64():
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


@pytest.mark.usefixtures("float64")
def test_cached_logits_equal_the_forward_pass_in_float64():
    prior, tokens = make_map_prior(num_layers=1), random_tokens()
    full = logits_of(prior, tokens, random_maps())
    np.testing.assert_allclose(cached_logits(prior, tokens, random_maps()), full, atol=1e-4)


@pytest.mark.one_backend
def test_a_guided_decoder_hides_the_condition_in_the_second_half(prior):
    tokens, maps = random_tokens(), random_maps()
    both = cached_logits(prior, tokens, maps, guided=True)
    np.testing.assert_allclose(both[:3], logits_of(prior, tokens, maps), atol=1e-4)
    other_maps = cached_logits(prior, tokens, random_maps(seed=9), guided=True)
    assert np.abs(other_maps[:3] - both[:3]).max() > 1e-2
    np.testing.assert_allclose(other_maps[3:], both[3:], atol=1e-5)


def test_greedy_sampling_with_and_without_cache_gives_the_same_tokens(prior):
    maps, tokens = random_maps(), np.zeros((3, LENGTH), "int32")
    for position in range(LENGTH):
        logits = logits_of(prior, tokens.reshape(3, *GRID), maps)
        tokens[:, position] = logits[:, position].argmax(-1)
    assert len(np.unique(tokens)) > 2
    np.testing.assert_array_equal(prior.generate(maps, temperature=0), tokens.reshape(3, *GRID))
    np.testing.assert_array_equal(prior.generate(maps, top_k=1, seed=5).reshape(3, -1), tokens)


def test_the_same_seed_gives_the_same_tokens_and_another_others(prior):
    maps = random_maps()
    first = prior.generate(maps, seed=1)
    assert first.dtype == np.int32 and first.shape == (3, *GRID)
    assert 0 <= first.min() and first.max() < CODES
    np.testing.assert_array_equal(prior.generate(maps, seed=1), first)
    assert (prior.generate(maps, seed=2) != first).mean() > 0.3


def test_samples_follow_the_models_own_distribution(free_prior):
    tokens = free_prior.generate(num_samples=3000, seed=0, batch_size=3000)
    expected = np.exp(logits_of(free_prior, random_tokens(1))[0, 0].astype("float64"))
    shares = np.bincount(tokens[:, 0, 0], minlength=CODES) / 3000
    # Four standard deviations of a share.
    np.testing.assert_allclose(shares, expected / expected.sum(), atol=4 * 0.5 / 3000**0.5)


def test_guidance_one_is_no_guidance(prior):
    maps = random_maps()
    plain = prior.generate(maps, seed=1)
    np.testing.assert_array_equal(prior.generate(maps, seed=1, guidance_scale=1.0), plain)
    # Through the doubled batch too: a schedule that is 1 but for the last token.
    nearly = prior.generate(
        maps, seed=1, guidance_scale=2.0, guidance_schedule=lambda share: float(share > 0.95)
    )
    np.testing.assert_array_equal(nearly.reshape(3, -1)[:, :-1], plain.reshape(3, -1)[:, :-1])


@pytest.mark.one_backend
def test_guidance_shifts_the_samples(prior):
    maps = random_maps()
    assert (prior.generate(maps, seed=1, guidance_scale=8.0) != prior.generate(maps, seed=1)).any()


@pytest.mark.one_backend
def test_a_result_does_not_depend_on_the_batch_size(prior):
    maps = random_maps(5)
    whole = prior.generate(maps, seed=3, batch_size=5)
    np.testing.assert_array_equal(prior.generate(maps, seed=3, batch_size=2, verbose=0), whole)


def test_inpainting_keeps_what_the_mask_leaves_out_and_sees_it(prior):
    maps, tokens = random_maps(), random_tokens()
    mask = np.zeros((3, *GRID), bool)
    mask[:, 1:3, 2:5] = True
    drawn = prior.generate(maps, tokens=tokens, mask=mask, seed=1)
    np.testing.assert_array_equal(drawn[~mask], tokens[~mask])
    assert (drawn[mask] != tokens[mask]).any()
    nothing = prior.generate(maps, tokens=tokens, mask=np.zeros_like(mask), seed=1)
    np.testing.assert_array_equal(nothing, tokens)
    # Everything masked is plain sampling.
    everything = prior.generate(maps, tokens=tokens, mask=np.ones_like(mask), seed=1)
    np.testing.assert_array_equal(everything, prior.generate(maps, seed=1))


def test_calls_of_equal_shape_compile_once(prior, monkeypatch):
    traced = []
    original = inference._FunctionModel.call

    def counting(self, inputs):
        traced.append(1)
        return original(self, inputs)

    monkeypatch.setattr(inference._FunctionModel, "call", counting)
    compiled = keras.backend.backend() != "torch"
    fresh = make_map_prior()
    for seed, temperature in enumerate((1.0, 0.7, 1.3)):
        fresh.generate(random_maps(seed=seed), seed=seed, temperature=temperature, top_p=0.9)
        if seed == 0:
            first = len(traced)
    assert len(traced) == (first if compiled else 3 * first)


@pytest.mark.one_backend
def test_a_progress_bar_shows_when_there_are_several_batches(free_prior, capsys):
    free_prior.generate(num_samples=4, seed=0, batch_size=2)
    assert "4/4" in capsys.readouterr().out
    free_prior.generate(num_samples=2, seed=0, batch_size=2)
    assert capsys.readouterr().out == ""


def test_segments_cover_any_length_once():
    for length in range(1, 70):
        pieces = segments(length)
        assert [i for start, stop in pieces for i in range(start, stop)] == list(range(length))
        assert len(pieces) <= 4


@pytest.mark.parametrize(
    "arguments, named",
    [
        ({"condition": random_maps().astype("float32")}, "condition"),
        ({"condition": random_maps() + CLASSES}, "labels from 5"),
        ({"condition": random_maps()[:, :8]}, r"\(16, 24\)"),
        ({}, "condition"),
        ({"condition": random_maps(), "temperature": -1}, "temperature"),
        ({"condition": random_maps(), "top_k": 0}, "top_k"),
        ({"condition": random_maps(), "top_p": 1.5}, "top_p"),
        ({"condition": random_maps(), "tokens": random_tokens()}, "mask"),
        (
            {
                "condition": random_maps(),
                "tokens": np.zeros((3, 5, 6), "int32"),
                "mask": np.ones((3, 5, 6)),
            },
            r"a grid \(5, 6\)",
        ),
        (
            {"condition": random_maps(), "tokens": random_tokens(), "mask": np.ones((3, 2, 2))},
            "mask",
        ),
        (
            {"condition": random_maps(2), "tokens": random_tokens(), "mask": np.ones((3, *GRID))},
            "3 examples",
        ),
        (
            {"condition": random_maps(), "tokens": random_tokens() + CODES, "mask": 1},
            "tokens from",
        ),
    ],
)
def test_wrong_sampling_arguments_are_named(prior, arguments, named):
    with pytest.raises(ValueError, match=named):
        prior.generate(**arguments)


def test_a_prior_without_condition_refuses_one_and_guidance(free_prior):
    with pytest.raises(ValueError, match="condition"):
        free_prior.generate(random_maps())
    with pytest.raises(ValueError, match="guidance_scale"):
        free_prior.generate(num_samples=1, guidance_scale=2.0)
