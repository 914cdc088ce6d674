"""A class label as a prior's condition."""

import keras
from keras import layers

from keras_regvq.checks.arguments import check_positive_integer
from keras_regvq.checks.arrays import check_tokens
from keras_regvq.models.conditions.condition import Condition


@keras.saving.register_keras_serializable(package="keras_regvq")
class ClassCondition(Condition):
    """A class label: a prefix of one vector. Takes integers (B,) in [0, num_classes).

    Example:
        ```python
        condition = keras_regvq.models.ClassCondition(num_classes=10)
        prior = keras_regvq.models.AutoregressivePrior(256, (4, 4), 1, 2, 32, condition)
        tokens = prior.generate([3, 7], seed=0)  # int32 (2, 4, 4)
        ```
    """

    shape = ()
    prefix_length = 1

    def __init__(self, num_classes, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = check_positive_integer("num_classes", num_classes)

    def build_for(self, grid, hidden_dim):
        self.embedding = layers.Embedding(self.num_classes, hidden_dim, dtype=self.dtype_policy)
        self.embedding.build()
        self.built = True

    def check(self, values, argument="condition"):
        return check_tokens(argument, values, self.num_classes, "(B,)", "class labels")

    def call(self, values):
        return self.embedding(values)[:, None], None

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes}
