"""What moves a codebook besides a gradient: moving averages, a start, replacement of dead codes."""

import keras
from keras import ops

from keras_regvq.backend.known_flags import is_known_to_hold
from keras_regvq.backend.random_state import SavesRandomState
from keras_regvq.backend.replicas import (
    replicas_at_work,
    sums_over_replicas,
    take_over_replicas,
)
from keras_regvq.checks.arguments import check_choice, check_number, check_seed, refuse
from keras_regvq.quantizers.kmeans import counts_and_sums, kmeans

SMOOTHING = 1e-5  # epsilon of the Laplace smoothing
USAGE_DECAY = 0.99  # of the usage of codes that learn by gradient
KMEANS_ITERATIONS = 10


@keras.saving.register_keras_serializable(package="keras_regvq")
class CodebookUpkeep(SavesRandomState, keras.layers.Layer):
    """The state and the updates of a codebook that does not learn by gradient alone.

    With decay g, the features of a batch that chose code i being n_i, of the sum s_i:

        counts_i = g counts_i + (1 - g) n_i,    sums_i = g sums_i + (1 - g) s_i,
        code_i = sums_i / smoothed_i,    smoothed_i = n (counts_i + 1e-5) / (n + 1e-5 N),

    n being the sum of the counts. A code whose count is below `dead_code_threshold` then becomes a
    feature of the batch, each another one, with the threshold as its count; if there are more dead
    codes than features, some wait for the next step.

    All numbers are of the whole batch, whichever replica has which part of it, so that the state is
    the same everywhere. Features that are not finite change nothing. A codebook that a gradient
    trains, too, cannot be assigned while its gradient is taken: its codes are moved by `shift`,
    which is added to it.

    Args:
        ema: the decay g; None if the codebook learns by gradient.
        codebook_start: None, "sampled" or "kmeans".
        dead_code_threshold: the smallest count, in positions of a batch, of a code that is kept; 0
            keeps all. Without `ema` counts decay by 0.99.
        normalize: whether features and codes are of length 1.
        block_size: bounds the memory of k-means, as in `CodebookQuantizer`.
        seed: of the features that are drawn.

    Example:
        ```python
        upkeep = keras_regvq.quantizers.upkeep.CodebookUpkeep(ema=0.9)
        codebook = keras.Variable(np.eye(2), trainable=False)
        upkeep.create(codebook)
        features, tokens = keras.ops.ones((1, 3, 2)), keras.ops.zeros((1, 3), "int32")
        upkeep.update(codebook, features, tokens)  # the first code moves towards (1, 1)
        np.round(keras.ops.convert_to_numpy(codebook)[0], 2).tolist()  # [1.0, 0.25]
        ```
    """

    def __init__(
        self,
        ema=None,
        codebook_start=None,
        dead_code_threshold=0.0,
        normalize=False,
        block_size=1024,
        seed=None,
        name="upkeep",
    ):
        super().__init__(name=name, dtype="float32")
        if ema is not None and check_number("ema", ema, 0, 1) == 1:
            refuse("ema", ema, "None, or a decay below 1")
        self.ema = None if ema is None else float(ema)
        self.codebook_start = check_choice(
            "codebook_start", codebook_start, (None, "sampled", "kmeans")
        )
        self.dead_code_threshold = check_number("dead_code_threshold", dead_code_threshold)
        self.normalize = bool(normalize)
        self.block_size = block_size
        self.seed = check_seed("seed", seed)
        draws = self.codebook_start is not None or self.dead_code_threshold > 0
        # Keras's own, which draws the same numbers in each replica.
        self.seed_generator = keras.random.SeedGenerator(seed) if draws else None
        self.needed = draws or self.ema is not None

    def create(self, codebook):
        """Create the state for a codebook, a variable (N, d)."""
        sizes, state = codebook.shape, {"trainable": False, "autocast": False}
        self.counts = self.sums = self.shift = self.started = None
        if self.ema is not None or self.dead_code_threshold > 0:
            self.counts = self.add_weight(
                name="counts", shape=sizes[:1], initializer="ones", **state
            )
        if self.ema is not None:
            self.sums = self.add_weight(
                name="sums",
                shape=sizes,
                # A copy: on JAX, variables that share a value lose it together.
                initializer=lambda shape, dtype=None: ops.copy(codebook),
                **state,
            )
        elif self.seed_generator is not None:
            self.shift = self.add_weight(name="shift", shape=sizes, initializer="zeros", **state)
        if self.codebook_start is not None:
            self.started = self.add_weight(
                name="started", shape=(), initializer="zeros", dtype="int32", **state
            )
        self.built = True

    def codes(self, codebook):
        """The codes (N, d) of the codebook, moved."""
        codes = codebook * 1.0
        return codes if self.shift is None else codes + self.shift

    def start(self, codebook, features):
        """Move all codes among the features of the first batch that this is called with, once.

        Args:
            codebook: the variable (N, d).
            features: (B, L, d).
        """
        if self.codebook_start is None or is_known_to_hold(self.started):
            return
        rows, size = _rows(features), codebook.shape[0]
        total = ops.shape(rows)[0] * replicas_at_work()
        # Where there are fewer features than codes, some codes get the same one.
        numbers = ops.take(self._order(total), ops.arange(size, dtype="int32") % total)
        if self.codebook_start == "sampled":
            codes = take_over_replicas(rows, numbers)
        else:
            rows = take_over_replicas(rows, ops.arange(total, dtype="int32"))
            drawn = ops.take(rows, numbers, axis=0)
            options = (KMEANS_ITERATIONS, self.normalize, self.block_size)
            codes = ops.cond(self.started > 0, lambda: drawn, lambda: kmeans(rows, drawn, *options))
        starts = ops.logical_and(self.started == 0, ops.all(ops.isfinite(codes)))
        self._move(codebook, starts, codes)
        if self.counts is not None:  # as if all were used alike
            usage = ops.cast(total, "float32") / size
            _assign(self.counts, starts, usage)
        if self.sums is not None:
            _assign(self.sums, starts, codes * usage)
        _assign(self.started, starts, 1)

    def update(self, codebook, features, tokens):
        """Update averages, codes and dead codes after a batch.

        Args:
            codebook: the variable (N, d).
            features: (B, L, d).
            tokens: integers (B, L), the codes that they chose.
        """
        if self.counts is None:
            return
        rows = ops.stop_gradient(_rows(features))
        counts, sums = counts_and_sums(rows, ops.reshape(tokens, (-1,)), codebook.shape[0])
        # NaN if anything is not finite.
        counts, sums, zero = sums_over_replicas([counts, sums, ops.sum(rows * 0.0)])
        finite = ops.isfinite(zero)
        decay = USAGE_DECAY if self.ema is None else self.ema
        counts = decay * self.counts + (1 - decay) * counts
        codes, changed = ops.stop_gradient(self.codes(codebook)), ops.zeros_like(finite)
        if self.ema is not None:
            sums = decay * self.sums + (1 - decay) * sums
            codes, changed = sums / smoothed(counts)[:, None], finite
        if self.dead_code_threshold > 0:
            dead, fresh = self._replacements(rows, counts)
            codes = ops.where(dead[:, None], fresh, codes)
            changed = ops.logical_and(finite, ops.logical_or(dead, changed))[:, None]
            counts = ops.where(dead, self.dead_code_threshold, counts)
            sums = ops.where(dead[:, None], self.dead_code_threshold * fresh, sums)
        self._move(codebook, changed, codes)
        _assign(self.counts, finite, counts)
        if self.sums is not None:
            _assign(self.sums, finite, sums)

    def _replacements(self, rows, counts):
        """Which codes are replaced, bool (N,), and by which feature each, (N, d)."""
        total = ops.shape(rows)[0] * replicas_at_work()
        dead = counts < self.dead_code_threshold
        rank = ops.cumsum(ops.cast(dead, "int32")) - 1
        numbers = ops.take(self._order(total), ops.clip(rank, 0, total - 1))
        return ops.logical_and(dead, rank < total), take_over_replicas(rows, numbers)

    def _order(self, total):
        return keras.random.shuffle(ops.arange(total, dtype="int32"), seed=self.seed_generator)

    def _move(self, codebook, which, codes):
        """Make `codes` the codes where `which`, a bool that broadcasts, is True."""
        if self.shift is None:
            _assign(codebook, which, codes)
        else:
            _assign(self.shift, which, codes - ops.stop_gradient(codebook * 1.0))

    def get_config(self):
        return {
            "ema": self.ema,
            "codebook_start": self.codebook_start,
            "dead_code_threshold": self.dead_code_threshold,
            "normalize": self.normalize,
            "block_size": self.block_size,
            "seed": self.seed,
            "name": self.name,
        }


def smoothed(counts):
    """Counts (N,) with Laplace smoothing: the same sum, and none of them is 0."""
    total = ops.sum(counts)
    return total * (counts + SMOOTHING) / (total + counts.shape[0] * SMOOTHING)


def _assign(variable, which, values):
    variable.assign(ops.where(which, values, ops.convert_to_tensor(variable)))


def _rows(features):
    return ops.reshape(features, (-1, features.shape[-1]))
