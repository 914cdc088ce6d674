"""Backups of a training run, from which it goes on as if it had never stopped."""

import contextlib
import csv
import io
import json
import warnings
from pathlib import Path

import keras
import numpy as np

from keras_regvq.backend.averaged_weights import players_of
from keras_regvq.backend.global_random_state import (
    read_global_random_state,
    write_global_random_state,
)
from keras_regvq.backend.processes import is_first_process
from keras_regvq.checks.arguments import refuse
from keras_regvq.files.npz import read_npz, write_npz
from keras_regvq.files.replacing import write_text
from keras_regvq.training.training_state import frozen_checksum, read_state, write_state

_RANDOM = "random_"  # starts the names of the process's random states in a file


class Backup(keras.callbacks.Callback):
    """Keeps the whole state of a run after each epoch; a killed run goes on at its last epoch.

    Where `keras.callbacks.BackupAndRestore` keeps weights, this keeps all that training changes,
    the random state of dropout layers and the history too: a run that went on ends in the same
    weights and the same log, to the last bit, as one that was never interrupted, if its data go on
    as well (`keras_regvq.data.load(..., from_step=backup.epoch * steps_per_epoch)`).

    Each backup is one file, which is there whole or not at all. The last two are kept; if the
    newer one is damaged, the older one is taken and a warning says so. A state with a NaN in it is
    not kept. The files stay when `fit` ends: call `finish` once the result is saved.

    Where processes train together, the first one writes, and all read.

    Frozen layers are not in it: whoever builds the model again gives them the same weights.
    Place it last among the callbacks, so that an epoch counts as done when theirs are.

    Args:
        directory: where the files are; made when the first is written.
        log: a CSV file of the history, written anew after each epoch; or None.
        run: a text; files of another run are passed over with a warning, and those in the folder
            are removed when this one's first epoch is done.
        start: a file that `finish` has left: the run goes on from there unless a backup is newer.

    Example:
        ```python
        trainer = keras_regvq.training.TokenizerTrainer(keras_regvq.from_preset("regvq_patch4_256"))
        trainer.compile("adam")
        backup = keras_regvq.training.Backup("run/backup", log="run/log.csv")
        step = 2 * backup.epoch  # 0, or where a killed run stopped
        data = keras_regvq.data.load("scenes", batch_size=2, num_examples=4, from_step=step)
        trainer.fit(data, steps_per_epoch=2, epochs=2, callbacks=[backup])
        trainer.tokenizer.save_to_preset("run/preset")
        backup.finish()
        ```
    """

    def __init__(self, directory, log=None, run="", start=None):
        super().__init__()
        self.directory, self.log, self.run = Path(directory), log, run
        self.start = start and Path(start)
        self._rows, self._arrays, self._random, self._others = [], None, {}, []
        self._frozen = self._optimizers = None
        self._find()

    @property
    def epoch(self):
        """How many epochs are done."""
        return len(self._rows)

    @property
    def history(self):
        """As `fit(...).history`, of all epochs: dict of lists, None where there was no value."""
        names = dict.fromkeys(name for row in self._rows for name in row)
        return {name: [row.get(name) for row in self._rows] for name in names}

    def restore(self, model):
        """Bring a built and compiled model to where the run is, if there is a backup.

        `fit` does so by itself. Call it before where another callback or the data need to know.

        Returns:
            how many epochs are done.

        Raises:
            ValueError: naming the file, if it is of another model or optimizer.
        """
        if self._arrays is None:
            self._find()
        if self._arrays is None:
            return 0
        try:
            if self._frozen != frozen_checksum(model):
                expected = "the weights that they had when the backup was made"
                refuse("model", "frozen layers with other weights", expected)
            optimizers = _class_names(model.optimizer)
            if optimizers != (self._optimizers or optimizers):
                refuse("model", f"the optimizer {optimizers}", f"{self._optimizers}, as it had")
            state = {n: a for n, a in self._arrays.items() if not n.startswith(_RANDOM)}
            write_state(model, state)
        except ValueError as error:
            raise ValueError(f"{self._path}: {error}") from error
        return self.epoch

    def on_train_begin(self, logs=None):
        self.restore(self.model)
        kept = (self._arrays or {}).items()
        self._random = {n.removeprefix(_RANDOM): a for n, a in kept if n.startswith(_RANDOM)}
        self._arrays = None
        self.model._initial_epoch = self.epoch  # as BackupAndRestore tells Keras
        self._write_log()

    def on_epoch_begin(self, epoch, logs=None):
        if epoch != self.epoch:
            refuse("initial_epoch", epoch, f"{self.epoch}, as many as the backup has")
        self.model._initial_epoch = None  # it has served, and would hold for another fit

    def on_train_batch_begin(self, batch, logs=None):
        # Not before: to make an iterator, PyTorch's DataLoader draws from it.
        write_global_random_state(self._random)
        self._random = {}

    def on_train_end(self, logs=None):
        self.model._initial_epoch = None

    def on_epoch_end(self, epoch, logs=None):
        row = {name: np.asarray(value).tolist() for name, value in (logs or {}).items()}
        self._rows = [*self._rows[:epoch], row]
        if not is_first_process():
            return
        arrays = read_state(self.model)
        if not all(np.isfinite(array).all() for array in arrays.values()):
            return
        if self._frozen is None:
            self._frozen = frozen_checksum(self.model)
        facts = {"run": self.run, "frozen": self._frozen, "rows": self._rows}
        facts["optimizers"] = _class_names(self.model.optimizer)
        text = np.frombuffer(json.dumps(facts).encode(), np.uint8)
        random = {_RANDOM + name: state for name, state in read_global_random_state().items()}
        path = self.directory / f"epoch_{self.epoch:06d}.npz"
        write_npz(path, {"facts": text, **arrays, **random})
        self._write_log()
        self._kept = [path, *(kept for kept in self._kept if kept != path)][:2]
        for old in self._files():
            if old not in self._kept:
                old.unlink(missing_ok=True)
        self._others = []  # gone, and files of their names are this run's now

    def finish(self, keep=None):
        """Remove the backups, once what was trained is saved; other files in the folder stay.

        Args:
            keep: path to keep the newest one at, as `start` of a run that goes on later; or None.
        """
        own = [path for path in self._files() if path not in self._others]
        newest, *older = (is_first_process() and own) or [None]
        for path in older:
            path.unlink(missing_ok=True)
        if newest is not None and keep is None:
            newest.unlink(missing_ok=True)
        elif newest is not None:
            newest.replace(keep)
        with contextlib.suppress(OSError):  # it holds something else
            self.directory.rmdir()

    def _files(self):
        """Newest first."""
        return sorted(self.directory.glob("epoch_*.npz"), reverse=True)

    def _find(self):
        """Read the newest file of this run that is whole."""
        damage, self._rows, self._kept, others = None, [], [], []
        for path in (*self._files(), self.start):
            if path is None or not path.exists():
                continue
            try:
                arrays = read_npz(path)
                facts = json.loads(arrays.pop("facts").tobytes())
                run, rows, frozen = facts["run"], facts["rows"], facts["frozen"]
            except (OSError, ValueError, KeyError, TypeError) as error:
                damage = damage or (path, error)
                continue
            if run == self.run:
                self._path, self._rows, self._frozen, self._arrays = path, rows, frozen, arrays
                self._optimizers = facts.get("optimizers")  # not in files of earlier versions
                self._kept = [path]
                break
            others.append(path)
        if damage and self._arrays is None:
            expected = "an intact backup; delete this file to start the run from the beginning"
            received = f"{damage[0]}, damaged ({damage[1]}) and with no older one"
            refuse("directory", received, expected)
        if others != self._others:
            warnings.warn(
                f"Backups of another run are passed over: {', '.join(map(str, others))}. Once an "
                "epoch of this one is done, those in its folder are removed.",
                stacklevel=3,
            )
            self._others = others
        if damage:
            warnings.warn(
                f"The backup {damage[0]} cannot be read ({damage[1]}). The run goes on after epoch "
                f"{self.epoch}, from {self._path}.",
                stacklevel=3,
            )

    def _write_log(self):
        if self.log is None or not is_first_process():
            return
        if not self._rows:
            Path(self.log).unlink(missing_ok=True)  # of another run
            return
        names = ["epoch", *sorted({name for row in self._rows for name in row})]
        table = io.StringIO()
        writer = csv.DictWriter(table, names, restval="NA", lineterminator="\n")
        writer.writeheader()
        writer.writerows({"epoch": epoch, **row} for epoch, row in enumerate(self._rows))
        write_text(self.log, table.getvalue())


def _class_names(optimizer):
    """Of an optimizer, or of those that it is made of: "Adam", "Muon, Adam"."""
    return ", ".join(type(player).__name__ for player in players_of(optimizer))
