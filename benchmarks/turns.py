"""Samplers that take turns, each in a process of its own, so that thread pools do not meet."""

import multiprocessing
import resource
import time

import numpy as np


def take_turns(builders, args):
    """Time samplers.

    Args:
        builders: dict of functions of `args` that give a function of a seed; called in the new
            process.
        args: with `only`, the names to run, and `rounds`, the turns of each after a first sample.

    Returns:
        dict of lists of seconds, and dict of the megabytes that sampling added to the process's
        peak after building.
    """
    context = multiprocessing.get_context("spawn")
    connections, seconds, memory = {}, {name: [] for name in args.only}, {}
    processes = []
    try:
        for name in args.only:
            connections[name], theirs = context.Pipe()
            # Not a daemon: it may start processes of its own.
            processes.append(context.Process(target=_serve, args=(builders[name], args, theirs)))
            processes[-1].start()
            theirs.close()  # so that a process that fails ends the wait for it
            connections[name].send(0)
            first, _ = connections[name].recv()
            print(f"{name}: first sample {first:.1f} s", flush=True)
        for seed in range(1, args.rounds + 1):
            for name, connection in connections.items():
                connection.send(seed)
                taken, memory[name] = connection.recv()
                seconds[name].append(taken)
    finally:
        for connection in connections.values():
            connection.close()  # which ends the process
        for process in processes:
            process.join(30)
            process.terminate()
    return seconds, memory


def _serve(build, args, connection):
    sample = build(args)
    before = _peak_memory()
    while True:
        try:
            seed = connection.recv()
        except EOFError:
            return
        start = time.perf_counter()
        size = np.asarray(sample(seed)).size
        seconds = time.perf_counter() - start
        assert size, "nothing was sampled"
        connection.send((seconds, _peak_memory() - before))


def _peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
