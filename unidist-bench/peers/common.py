"""What is measured on every peer, the same everywhere: one line of JSON for each sample.

A program `with_*.py` makes a class of what its peer can do (`Peer` says which methods there may be) and hands it to
`measure`. What a peer lacks is left out. Durations are in seconds, rates in numbers a second.
"""

import argparse
import json
import time

SIZE = 64 << 20
CHAIN = 1_000
# How many calls are timed together: a single one is short beside what else the machine does.
BATCH = 10


class Peer:
    """What there may be to measure. `None` is what a peer does not have."""

    # tasks(count): runs so many tasks that do nothing, all submitted at once, and waits for them.
    tasks = None
    # map(count): the results of so many tasks that add 1 to their numbers, in order, one task an item.
    map = None
    # call(): one such task, and waits for it.
    call = None
    # actor_calls(count) and actor_call(): the same with one actor.
    actor_calls = None
    actor_call = None
    # chain(length): so many tasks each of which takes the result of the one before; waits for the last.
    chain = None
    # put(data): makes an object of an array of bytes and returns what refers to it; get(reference): back again.
    put = None
    get = None
    # task_on(data): a task on what `put` returned (on the array itself, where there is no `put`), and waits for it.
    task_on = None
    # result(length): a task that makes an array of so many bytes, and waits for the array.
    result = None


def arguments(**more):
    """The command line: how many workers, how much time; `more` are the names of other words."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--quick", action="store_true")
    for name, choices in more.items():
        parser.add_argument(f"--{name}", choices=choices, required=True)
    return parser.parse_args()


def measure(peer, quick):
    """Measures what the peer has."""
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
            # Before the `get`: unidist's mpi backend cannot send what it has decoded.
            say("task on 64 MiB", _time(lambda: peer.task_on(reference)))
            say("get 64 MiB", _time(lambda: peer.get(reference)))
            del reference
        elif peer.task_on:
            say("task on 64 MiB", _time(lambda: peer.task_on(data)))
        if peer.result:
            say("64 MiB from a task", _time(lambda: peer.result(SIZE)))


def say(name, value):
    """A sample."""
    print(json.dumps({"name": name, "value": value}), flush=True)


def _time(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _rate(name, run, budget):
    """As many as keep it busy for a while, three times."""
    count, took = 100, _time(lambda: run(100))
    while took < budget / 3 and count < 100_000:
        count *= 2
        took = _time(lambda: run(count))
    for _ in range(3):
        say(name, count / _time(lambda: run(count)))


def _repeat(name, run, budget):
    """One after the other."""
    run()
    end = time.perf_counter() + budget
    for sample in range(20):
        if sample >= 3 and time.perf_counter() > end:
            break
        say(name, _time(lambda: [run() for _ in range(BATCH)]) / BATCH)
