"""The measurements, the same for every peer: prints one line of JSON for each sample.

A program `with_*.py` implements the methods of `Peer` that its system supports, and passes an instance to `measure`,
which skips the others. Durations are in seconds, rates per second.
"""

import argparse
import json
import time

SIZE = 64 << 20
CHAIN = 1_000
# The number of calls that are timed together, since a single one is too short for a stable measurement.
BATCH = 10


class Peer:
    """The operations of a peer; `None` for those that it does not support."""

    # tasks(count): runs `count` empty tasks, all submitted at once, and waits for them.
    tasks = None
    # map(count): maps `increment` over `count` items in order, one task per item.
    map = None
    # call(): runs one empty task and waits for it.
    call = None
    # actor_calls(count) and actor_call(): the same with one actor.
    actor_calls = None
    actor_call = None
    # chain(length): runs `length` tasks, each with the result of the previous one, and waits for the last.
    chain = None
    # put(data): stores an array of bytes and returns a reference; get(reference): reads it.
    put = None
    get = None
    # task_on(data): runs a task on the reference (or on the array, without `put`) and waits for it.
    task_on = None
    # result(length): runs a task that returns an array of `length` bytes, and waits for the array.
    result = None


def arguments(**more):
    """Parses the command line; `more` are further options with their choices."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--quick", action="store_true")
    for name, choices in more.items():
        parser.add_argument(f"--{name}", choices=choices, required=True)
    return parser.parse_args()


def measure(peer, quick):
    """Measures all operations that the peer supports."""
    import numpy

    budget = 0.4 if quick else 1.5
    peer.tasks(50)
    _rate("empty tasks", peer.tasks, budget)
    if peer.map:
        peer.map(50)
        _rate("map, one by one", peer.map, budget)
    _repeat("round trip", peer.call, budget)
    if peer.actor_calls:
        peer.actor_calls(50)
        _rate("calls of an actor", peer.actor_calls, budget)
        _repeat("round trip to an actor", peer.actor_call, budget)
    if peer.chain:
        for _ in range(1 if quick else 2):
            say("step in a chain of 1,000", _time(lambda: peer.chain(CHAIN)) / CHAIN)
    data = numpy.full(SIZE, 7, dtype=numpy.uint8)
    for _ in range(2 if quick else 5):
        if peer.put:
            start = time.perf_counter()
            reference = peer.put(data)
            say("put 64 MiB", time.perf_counter() - start)
            # Before the `get`: unidist's mpi backend cannot send an object that it has decoded.
            say("task on 64 MiB", _time(lambda: peer.task_on(reference)))
            say("get 64 MiB", _time(lambda: peer.get(reference)))
            del reference
        elif peer.task_on:
            say("task on 64 MiB", _time(lambda: peer.task_on(data)))
        if peer.result:
            say("64 MiB from a task", _time(lambda: peer.result(SIZE)))


def say(name, value):
    """Prints a sample."""
    print(json.dumps({"name": name, "value": value}), flush=True)


def _time(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _rate(name, run, budget):
    """Measures the rate three times, with enough items to keep the peer busy for a while."""
    count, took = 100, _time(lambda: run(100))
    while took < budget / 3 and count < 100_000:
        count *= 2
        took = _time(lambda: run(count))
    for _ in range(3):
        say(name, count / _time(lambda: run(count)))


def _repeat(name, run, budget):
    """Measures the mean duration of calls one after the other."""
    run()
    end = time.perf_counter() + budget
    for sample in range(20):
        if sample >= 3 and time.perf_counter() > end:
            break
        say(name, _time(lambda: [run() for _ in range(BATCH)]) / BATCH)
