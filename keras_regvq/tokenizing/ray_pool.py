"""Parts that workers of Ray Data make, here or on a cluster."""

import logging
import os

import keras

from keras_regvq.checks.arguments import check_integer, check_number
from keras_regvq.tokenizing.part_worker import PartWorker


def make_on_ray(job, numbers, workers, num_cpus=1, num_gpus=0, address=None):
    """Let a pool of actors make parts; a part whose worker dies is made by another one.

    Args:
        job: `part_worker.Job`, which each worker gets once.
        numbers: of the parts.
        workers: how many actors.
        num_cpus, num_gpus: that Ray sets aside for each.
        address: of a cluster, or None.

    Yields:
        the summary of each part that is made, as they come.

    Raises:
        ImportError: without Ray.
    """
    check_integer("workers", workers, 1)
    check_number("num_cpus", num_cpus)
    check_number("num_gpus", num_gpus)
    try:
        import ray
    except ImportError as error:
        raise ImportError('workers need Ray: pip install "keras_regvq[ray]"') from error
    if not numbers:
        return
    started = not ray.is_initialized()
    if started:
        variables = {"KERAS_BACKEND": keras.config.backend(), "TF_CPP_MIN_LOG_LEVEL": "3"}
        variables |= {n: os.environ[n] for n in ("OMP_NUM_THREADS",) if n in os.environ}
        ray.init(
            address=address,
            runtime_env={"env_vars": variables},
            log_to_driver=False,
            include_dashboard=False,
            configure_logging=False,
        )
    logged = logging.root.manager.disable
    logging.disable(logging.WARNING)  # who calls this says how far it is
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        rows = ray.data.from_items(
            [{"number": n} for n in numbers], override_num_blocks=len(numbers)
        )
        made = rows.map(
            _Actor,
            fn_constructor_args=(job,),
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(numbers))),
            num_cpus=num_cpus,
            num_gpus=num_gpus,
        )
        yield from made.iter_rows()
    finally:
        logging.disable(logged)
        if started:
            ray.shutdown()


class _Actor:
    def __init__(self, job):
        self.worker = PartWorker(job)

    def __call__(self, row):
        summary = self.worker.make(int(row["number"]))
        return {"examples": summary["examples"], "shard": summary["shard"]}
