import keras
import numpy as np
import pytest
from keras import ops

from keras_regvq.metrics import CodebookPerplexity, CodebookUsage

CODES = 32


def numpy_usage(tokens):
    return len(np.unique(tokens)) / CODES


def numpy_perplexity(tokens):
    counts = np.bincount(np.ravel(tokens), minlength=CODES)
    probabilities = counts[counts > 0] / counts.sum()
    return np.exp(-np.sum(probabilities * np.log(probabilities)))


REFERENCES = [(CodebookUsage, numpy_usage), (CodebookPerplexity, numpy_perplexity)]


@pytest.mark.parametrize("metric_class, reference", REFERENCES)
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_metric_is_that_of_all_tokens_over_uneven_batches(metric_class, reference, dtype):
    tokens = np.random.default_rng(0).binomial(CODES - 1, 0.3, size=(7, 4, 5)).astype(dtype)
    metric = metric_class(CODES)
    for batch in (slice(0, 3), slice(3, 6), slice(6, 7)):
        metric.update_state(tokens[batch])
    assert float(metric.result()) == pytest.approx(reference(tokens), rel=1e-5)

    metric.reset_state()
    metric.update_state(tokens[5:6])
    assert float(metric.result()) == pytest.approx(reference(tokens[5:6]), rel=1e-5)


def test_perplexity_of_an_epoch_is_not_the_average_over_its_batches():
    metric, of_batches = CodebookPerplexity(CODES), []
    for code in range(CODES):  # each batch uses one code, all batches use all codes
        batch = np.full((2, 4, 4), code, "int32")
        metric.update_state(batch)
        of_batches.append(numpy_perplexity(batch))
    assert np.mean(of_batches) == pytest.approx(1.0)
    assert float(metric.result()) == pytest.approx(CODES, rel=1e-5)


def test_usage_counts_a_code_of_one_early_batch():
    metric = CodebookUsage(CODES)
    metric.update_state(np.array([[[3, 5]]], "int32"))
    for _ in range(5):
        metric.update_state(np.zeros((2, 4, 4), "int32"))
    assert float(metric.result()) == pytest.approx(3 / CODES)


def test_extremes():
    usage, perplexity = CodebookUsage(CODES), CodebookPerplexity(CODES)
    assert float(usage.result()) == 0 and float(perplexity.result()) == 0
    usage.update_state(np.full((1, 1, 1), CODES - 1, "int32"))
    perplexity.update_state(np.full((1, 1, 1), CODES - 1, "int32"))
    assert float(usage.result()) == pytest.approx(1 / CODES)
    assert float(perplexity.result()) == pytest.approx(1.0)


def test_counts_stay_exact_beyond_the_integers_of_float32():
    metric = CodebookUsage(2)
    metric.update_state(np.zeros((1,), "int32"))
    metric.counts.assign(ops.convert_to_tensor([2**24, 0, 0], dtype=metric.counts.dtype))
    metric.update_state(np.array([0], "int32"))
    assert int(ops.convert_to_numpy(metric.counts)[0]) == 2**24 + 1


@pytest.mark.parametrize("metric_class", [CodebookUsage, CodebookPerplexity])
@pytest.mark.parametrize("token, dtype", [(-1, "int32"), (CODES, "int32"), (2**32 + 3, "int64")])
def test_a_token_outside_the_codebook_is_refused_and_not_counted(metric_class, token, dtype):
    metric = metric_class(CODES)
    metric.update_state(np.array([1, 2], "int32"))
    before = float(metric.result())
    with pytest.raises(ValueError, match=r"`tokens`.*1 tokens outside.*\[0, 31\]"):
        metric.update_state(np.array([3, token], dtype))
    assert float(metric.result()) == before


@pytest.mark.parametrize("metric_class", [CodebookUsage, CodebookPerplexity])
def test_wrong_arguments_are_refused(metric_class):
    with pytest.raises(ValueError, match="`codebook_size`"):
        metric_class(0)
    with pytest.raises(ValueError, match="`tokens`.*float32"):
        metric_class(CODES).update_state(np.zeros((2, 2), "float32"))
    with pytest.raises(ValueError, match="`tokens`.*None"):
        metric_class(CODES).update_state()
    with pytest.raises(ValueError, match="`sample_weight`"):
        metric_class(CODES).update_state(np.zeros((2, 2), "int32"), sample_weight=np.ones(2))


class TokenModel(keras.Model):
    """Its output is its input, tokens; one weight, so that there is something to fit."""

    def __init__(self):
        super().__init__()
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, tokens):
        return tokens

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.square(self.scale)


class TokenModelWithItsOwnMetrics(TokenModel):
    """Updates the metrics inside compute_loss, as a trainer does."""

    def __init__(self):
        super().__init__()
        self.usage, self.perplexity = CodebookUsage(CODES), CodebookPerplexity(CODES)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        self.usage.update_state(y_pred)
        self.perplexity.update_state(y_pred)
        return ops.square(self.scale)


def fit_token_model(own_metrics, tokens):
    metrics = [CodebookUsage(CODES), CodebookPerplexity(CODES)]
    model = TokenModelWithItsOwnMetrics() if own_metrics else TokenModel()
    model.compile("sgd", metrics=None if own_metrics else metrics)
    targets = np.zeros_like(tokens)  # must not be what is counted
    return model.fit(tokens, targets, batch_size=3, epochs=2, verbose=0, shuffle=False).history


@pytest.mark.parametrize("own_metrics", [False, True])
def test_metrics_in_a_compiled_fit_cover_the_epoch(own_metrics):
    tokens = np.random.default_rng(1).binomial(CODES - 1, 0.4, size=(7, 4, 4)).astype("int32")
    history = fit_token_model(own_metrics, tokens)
    for name, reference in (
        ("codebook_usage", numpy_usage),
        ("codebook_perplexity", numpy_perplexity),
    ):
        assert history[name] == pytest.approx([reference(tokens)] * 2, rel=1e-5)


def test_a_token_outside_the_codebook_in_a_compiled_fit_is_an_error_or_nan():
    tokens = np.full((4, 2, 2), CODES, "int32")
    try:
        history = fit_token_model(True, tokens)
    except ValueError as error:
        assert "outside the codebook" in str(error)
    else:
        assert np.isnan(history["codebook_usage"]).all()
        assert np.isnan(history["codebook_perplexity"]).all()


@pytest.mark.parametrize("metric_class", [CodebookUsage, CodebookPerplexity])
def test_config_round_trip(metric_class):
    metric = metric_class(CODES, name="codes")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(copy) is metric_class
    assert copy.get_config() == metric.get_config()
    assert copy.codebook_size == CODES and copy.name == "codes"


@pytest.mark.parametrize("metric_class, reference", REFERENCES)
def test_tokens_of_several_codebooks_are_counted_by_codebook(metric_class, reference):
    tokens = np.random.default_rng(0).binomial(CODES - 1, [0.1, 0.5, 0.9], size=(7, 4, 3))
    metric = metric_class(CODES, num_codebooks=3)
    for batch in (tokens[:3], tokens[3:]):
        metric.update_state(batch)
    each = [reference(tokens[..., book]) for book in range(3)]
    mean = np.mean(each) if metric_class is CodebookUsage else np.exp(np.mean(np.log(each)))
    assert float(metric.result()) == pytest.approx(mean, rel=1e-5)
    assert reference(tokens) > 1.1 * mean  # all of them together are another number
    with pytest.raises(ValueError, match="(?s)tokens.*3 in the last axis"):
        metric.update_state(tokens[..., :2])
    with pytest.raises(ValueError, match="tokens outside"):
        metric.update_state(tokens + CODES)
