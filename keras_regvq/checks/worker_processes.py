"""Batches that processes of a PyDataset's own make, which this process then looks at."""

import multiprocessing
import threading

_dataset = None  # in a worker process: what it makes batches of


class WorkerBatches:
    """The batches of a PyDataset with `use_multiprocessing`, by number, from its worker processes.

    Keras would give the processes whatever it reads itself: the dataset with its checks, and so the
    model, which cannot be pickled on every backend. Here they are given the dataset alone. Each
    call waits for its batch, so call from several threads.

    Args:
        dataset: a keras PyDataset, with `workers` > 0.
    """

    def __init__(self, dataset):
        self._dataset, self._pool, self._lock = dataset, None, threading.Lock()

    def __getitem__(self, index):
        with self._lock:
            if self._pool is None:
                self._pool = multiprocessing.Pool(self._dataset.workers, _start, (self._dataset,))
            pool = self._pool
        return pool.apply(_batch, (index,))

    def close(self):
        """End the processes: the next batch starts others, which see what the dataset is then."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()
            pool.join()


def _start(dataset):
    global _dataset
    _dataset = dataset


def _batch(index):
    return _dataset[index]
