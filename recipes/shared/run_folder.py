"""What a training keeps in --output, and whether it starts there, goes on or is over."""

import contextlib
import json
import math
import re
import shutil
import uuid

import keras_regvq
from keras_regvq.backend.processes import is_first_process, told_by_all, wait_for_all
from keras_regvq.files.replacing import write_text
from shared.recipe_card import command_line

HELP = """
An interrupted training loses at most the epoch it was in: the same command with --resume goes on
at the last finished epoch, and ends as if nothing had happened. A finished one keeps, beside preset
and report, its log and its state (state.npz: the trained weights and the optimizer's, three to four
times the size of the preset), from which --resume with more --steps goes on. Without that file it
cannot be trained further, but all else works.
"""

# What --resume may change. All else makes the run what it is.
_FREE = {
    *("steps", "learning_rate", "output", "resume", "overwrite", "config"),
    *("test_examples", "preset_dtype", "guidance_scale", "distribute"),
}
_RESULTS = ("backup", "state.npz", "label_tokenizer", "preset")
_BESIDE = ("log.csv", "index.html", "results.json")
_PICTURES = re.compile(r"(samples|painted|reconstructions|codebook)_\d{4,}\.png|\.part-.*\.png")


class RunFolder:
    """The folder of one training run.

        run.json     the settings; once the run is finished, how many epochs it has done
        backup/      the states after the last two epochs, until the preset is there
        state.npz    the state of a finished run
        log.csv, pictures/, preset/, index.html, results.json

    Args:
        args: the recipe's options, with steps, epoch_steps, output, resume and overwrite.
        recipe: its name.
        arguments: list of its arguments, or None for this process's: what `command` says.

    Raises:
        SystemExit: with one line, where the options and what is there contradict each other.
    """

    def __init__(self, args, recipe, arguments=None):
        self.path, self.args = args.output, args
        self.command = command_line(recipe, arguments)
        self.epochs = math.ceil(args.steps / args.epoch_steps)
        settings = {"recipe": recipe, **vars(args)}
        self.settings = json.loads(json.dumps(settings, default=str))
        self.started = False
        facts = self._read()
        if not args.overwrite and (facts is None or not args.resume):
            held = self._held(facts)
            if held:
                self._refuse_to_overwrite(facts, held[0])
        goes_on = args.resume and not args.overwrite and facts is not None
        if goes_on:
            self._check_settings(facts["settings"])
        self.run = facts["run"] if goes_on else uuid.uuid4().hex
        self.finished_epochs = facts["finished"] if goes_on else None
        self.fresh = not goes_on
        if self.finished_epochs and not self.is_finished and not self._state.exists():
            raise SystemExit(
                f"error: {self._state} is gone, without which a finished run cannot be trained "
                "further: name another --output."
            )

    @property
    def is_finished(self):
        """Whether there is nothing left to do."""
        return self.finished_epochs is not None and self.epochs <= self.finished_epochs

    def say_finished(self):
        steps = self.finished_epochs * self.args.epoch_steps
        print(
            f"{self.path} holds a finished run of {steps} steps: nothing to do. "
            "With more --steps, --resume trains it further."
        )

    def start(self):
        """Note that this run is here now, and remove what an older one has left but its result."""
        if self.started:
            return
        self.started = True
        wait_for_all()  # until all processes have read what was there
        if is_first_process():
            self._clear()
        wait_for_all()
        facts = self._read()
        if len(set(told_by_all(facts is not None))) > 1:
            raise SystemExit("error: --output has to be one folder, which all machines see.")
        self.run = facts["run"]
        self._backup = keras_regvq.training.Backup(
            self._backups, self.path / "log.csv", self.run, self._state
        )
        if not self._backup.epoch and is_first_process():
            for picture in self._drawn():
                picture.unlink()

    def _clear(self):
        if self.fresh:
            shutil.rmtree(self.label_tokenizer, ignore_errors=True)
        self._write(None)
        if self.fresh:
            # Backups of an older run are known by its name: a kill does no harm from here on.
            shutil.rmtree(self._backups, ignore_errors=True)
            self._state.unlink(missing_ok=True)
            (self.path / "log.csv").unlink(missing_ok=True)

    @property
    def backup(self):
        """The callback `Backup` of this run."""
        self.start()
        return self._backup

    @property
    def step(self):
        """How many steps are done."""
        return self.backup.epoch * self.args.epoch_steps

    def backup_of_part(self, name):
        """A `Backup` for a part of the model that is trained first."""
        self.start()
        return keras_regvq.training.Backup(self._backups / name, run=self.run)

    @contextlib.contextmanager
    def training(self):
        """Around `fit`: losses that are not finite end the recipe with a line on how to go on."""
        try:
            yield
        except keras_regvq.training.NonFiniteLossError as error:
            rate = self.args.learning_rate / 4
            line = f"error: {error} Here: --resume --learning-rate {rate:g}"
            raise SystemExit(line) from error

    def finish(self):
        """Once preset and report are there: keep the state, remove the backups."""
        self.backup.finish(keep=self._state)
        if not is_first_process():
            return
        shutil.rmtree(self._backups, ignore_errors=True)
        self._write(max(self.backup.epoch, self.finished_epochs or 0))

    @property
    def pictures(self):
        return self.path / "pictures"

    @property
    def label_tokenizer(self):
        """Of the recipes that train one for their label maps."""
        return self.path / "label_tokenizer"

    @property
    def _index(self):
        return self.path / "run.json"

    @property
    def _backups(self):
        return self.path / "backup"

    @property
    def _state(self):
        return self.path / "state.npz"

    def _read(self):
        try:
            facts = json.loads(self._index.read_bytes())
            valid = isinstance(facts["run"], str) and isinstance(facts["settings"], dict)
            valid = valid and isinstance(facts["finished"], (int, type(None)))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, RecursionError):
            valid = False
        if not valid and not self.args.overwrite:
            raise SystemExit(
                f"error: {self._index} is damaged: name another --output, or --overwrite."
            )
        return facts if valid else None

    def _write(self, finished):
        facts = {"run": self.run, "finished": finished, "settings": self.settings}
        write_text(self._index, json.dumps(facts, indent=2))

    def _held(self, facts):
        """What a new run would replace or remove: in a folder of no run, whatever has its names."""
        names = _RESULTS if facts is not None else _RESULTS + _BESIDE
        held = [self.path / name for name in names if (self.path / name).exists()]
        return held if facts is not None else held + self._drawn()

    def _drawn(self):
        """Pictures that have the names of a training's."""
        if not self.pictures.is_dir():
            return []
        return [path for path in self.pictures.iterdir() if _PICTURES.fullmatch(path.name)]

    def _refuse_to_overwrite(self, facts, held):
        if facts is None:
            raise SystemExit(
                f"error: {self.path} holds {held.name} without its run.json (no run's, or one of "
                "another version), which is neither replaced nor gone on with: name another "
                "--output, or --overwrite it."
            )
        kind = "a finished" if facts["finished"] else "an unfinished"
        raise SystemExit(
            f"error: {self.path} holds {kind} run: add --resume to go on with it, --overwrite to "
            "start anew, or name another --output."
        )

    def _check_settings(self, settings):
        for name, value in self.settings.items():
            if name in _FREE or name not in settings or settings[name] == value:
                continue
            option = "recipe" if name == "recipe" else "--" + name.replace("_", "-")
            raise SystemExit(
                f"error: {self.path} holds a run with {option} {settings[name]}, not {value}: "
                "--resume goes on with the settings that it has. Name another --output for another "
                "run."
            )


def add_options(add):
    """The options of what to do with a folder that holds a run; `add(name, default, help, ...)`."""
    add("--resume", False, "go on with the run in --output", action="store_true")
    add("--overwrite", False, "start anew where --output holds a run", action="store_true")
