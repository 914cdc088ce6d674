"""A keras.Model that checks its data and refuses what it would not use."""

import contextlib
import inspect

import keras
from keras import ops

from keras_regvq.backend.averaged_weights import players_of, warm_up_averages
from keras_regvq.backend.distribution import data_in_parts, misplacement
from keras_regvq.backend.fit_state import fitting, keeping_values
from keras_regvq.backend.replicas import (
    average_gradients,
    divided_loss,
    share_values,
    sums_in,
    together,
)
from keras_regvq.checks.arguments import refuse
from keras_regvq.checks.batch_parts import ArrayBatches, BatchParts
from keras_regvq.checks.fit_data import FitData, refuse_weights

_LOOPS = {"fit": fitting, "evaluate": keeping_values, "predict": keeping_values}
_NOT_COMPILED = ("loss", "loss_weights", "metrics", "weighted_metrics")


class CheckedModel:
    """Mixin before keras.Model: data are checked batch by batch, and nothing is ignored in silence.

    A subclass has `batch_loss(inputs, outputs, training)`, the scalar to minimize of one batch. It
    is all that the model is trained by: `compile` takes no losses and metrics, and `fit` no targets
    and weights of examples. It also has what `FitData` needs of a model; that runs beside the
    training step, and may not look at variables, whose values are elsewhere then on JAX.
    """

    expected_inputs = "a batch of inputs"
    bare_inputs = None
    ignores_targets = False  # labels beside the inputs of a data set: dropped or refused
    looks_first = True  # whether `fit` reads a tf.data set's first batch before it starts

    def check_ready(self):
        """Refuse to work on data as long as the model lacks something."""

    def trained_part(self):
        """What `fit` is to train: the name of an argument or attribute, and the model there."""
        return "model", self

    def select_inputs(self, argument, batch):
        """What the model takes of a batch, of arrays, tensors or specs."""
        return batch

    def encode_inputs(self, inputs):
        return inputs

    def encode_dataset(self, dataset, refused=None):
        return dataset

    def compile(self, *args, **kwargs):
        for name in _NOT_COMPILED:
            if kwargs.get(name) is not None:
                refuse(name, repr(kwargs[name]), "None: the model brings its losses and metrics")
        super().compile(*args, **kwargs)
        for optimizer in players_of(self.optimizer):
            warm_up_averages(optimizer)
        average_gradients(self.optimizer)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """`batch_loss`, for Keras to differentiate."""
        refuse_weights(sample_weight)
        return divided_loss(self.batch_loss(x, y_pred, training))

    def log_means(self, trackers, values, inputs):
        """Add the means of one batch to Keras's Means of these names, as Keras does its loss.

        A batch counts by its examples: the last one may have fewer.
        """
        examples = ops.shape(keras.tree.flatten(inputs)[0])[0]
        for name, value in values.items():
            trackers[name].update_state(ops.stop_gradient(value), sample_weight=examples)

    def get_metrics_result(self):
        """Keras's, of what all processes have seen."""
        with sums_in([variable for metric in self.metrics for variable in metric.variables]):
            return super().get_metrics_result()

    def fit(self, *args, **kwargs):
        """`keras.Model.fit`, every batch checked on the host before it is trained on.

        Args:
            x: see the class: arrays, or a tf.data.Dataset, keras PyDataset, PyTorch DataLoader or
                generator of such batches.
            validation_data: likewise.
            y, sample_weight, class_weight: None.

        Raises:
            ValueError: for data of a wrong kind, shape, dtype or value range, on every backend the
                same. The model then has the weights of the last step before.
        """
        return self._checked("fit", args, kwargs, self.looks_first)

    def evaluate(self, *args, **kwargs):
        """`keras.Model.evaluate` on what `fit` takes, checked likewise."""
        if kwargs.get("_use_cached_eval_dataset"):  # inside `fit`, which has checked it
            return super().evaluate(*args, **kwargs)
        return self._checked("evaluate", args, kwargs)

    def predict(self, *args, **kwargs):
        """`keras.Model.predict` on what `fit` takes, checked likewise."""
        return self._checked("predict", args, kwargs)

    def train_on_batch(self, *args, **kwargs):
        """`keras.Model.train_on_batch` on arrays as `fit` takes them, checked likewise."""
        return self._checked("train_on_batch", args, kwargs)

    def test_on_batch(self, *args, **kwargs):
        """`keras.Model.test_on_batch` on arrays as `fit` takes them, checked likewise."""
        return self._checked("test_on_batch", args, kwargs)

    def predict_on_batch(self, *args, **kwargs):
        """`keras.Model.predict_on_batch` on arrays as `fit` takes them, checked likewise."""
        return self._checked("predict_on_batch", args, kwargs)

    def _checked(self, method, args, kwargs, look_first=False):
        given = inspect.signature(getattr(keras.Model, method)).bind(self, *args, **kwargs)
        given = dict(list(given.arguments.items())[1:])
        given.update(given.pop("kwargs", {}))
        refuse_weights(given.get("sample_weight"), given.get("class_weight"))
        if given.get("y") is not None:
            refuse("y", f"a {type(given['y']).__name__}", "None: the inputs are all that is needed")
        self.check_ready()
        if method in ("fit", "train_on_batch"):
            _refuse_frozen(*self.trained_part())
        refuse_misplaced(self)
        if not method.startswith("predict"):
            share_values(self)
            if getattr(self, "optimizer", None) is not None:  # compiled before PyTorch's joined
                average_gradients(self.optimizer)
        checks = []
        for argument in ("x", "validation_data"):
            if given.get(argument) is not None:
                checks.append(FitData(argument, self, _parts(self, method, argument, given)))
                given[argument] = _checked_argument(checks[-1], given[argument], look_first)
        if method == "fit" and not _can_shuffle(given.get("x")):
            given["shuffle"] = False  # where Keras cannot, it warns
        try:
            loop = _LOOPS.get(method, contextlib.nullcontext)
            apart = method.startswith("predict")
            with loop(self), data_in_parts(), contextlib.nullcontext() if apart else together():
                return getattr(super(), method)(**given)
        except Exception as error:
            if type(error).__module__.startswith("tensorflow"):  # tf.data wraps what it meets
                for check in checks:
                    if check.refusal is not None:
                        raise check.refusal from None
            raise


def _refuse_frozen(name, model):
    """Refuse to train what would stay as it is."""
    if not any(weight.trainable for weight in model.weights):
        received = f"a frozen {type(model).__name__}, of which no weight would change"
        refuse(name, received, f"one to be trained: set `{name}.trainable = True`")


def refuse_misplaced(model):
    """Refuse to train a model on devices, or beside processes, that it was not built for."""
    wrong = misplacement(model)
    if wrong is not None:
        refuse("model", *wrong)


def _parts(model, method, argument, given):
    """How the batches of an argument are divided; None where each process takes its own."""
    if method not in ("fit", "evaluate"):
        return None
    batch_size, fits = given.get("batch_size"), method == "fit"
    if argument == "validation_data":
        batch_size = given.get("validation_batch_size") or batch_size
        return BatchParts(argument, model, batch_size, steps=given.get("validation_steps"))
    parts = BatchParts(
        argument,
        model,
        batch_size,
        shuffle=fits and given.get("shuffle", True),
        steps=given.get("steps_per_epoch" if fits else "steps"),
    )
    if given.get("validation_split") and max(parts.count, parts.replicas) > 1:
        received = f"{given['validation_split']}, for {max(parts.count, parts.replicas)} replicas"
        refuse("validation_split", received, "validation_data")
    return parts


def _checked_argument(check, data, look_first):
    if check.argument == "validation_data" and isinstance(data, (tuple, list)):
        inputs, *others = data
        for name, value in zip(("y", "sample_weight"), others, strict=False):
            if value is not None:
                refuse(f"{name}` of `validation_data", f"a {type(value).__name__}", "None")
        data = inputs
    data = check.of(data, look_first)
    return (data,) if check.argument == "validation_data" else data


def _can_shuffle(data):
    if isinstance(data, ArrayBatches):  # does it itself
        return False
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches is not None
    return isinstance(data, dict) or hasattr(data, "dtype")
