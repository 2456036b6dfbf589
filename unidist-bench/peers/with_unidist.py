"""unidist's Python package, with one of its backends; mpi-shared is mpi with objects in shared memory.

For mpi: `mpiexec -n WORKERS+2 python with_unidist.py ..`.
"""

import unidist
import unidist.config

import work
from common import Peer, arguments, measure


class Unidist(Peer):
    def __init__(self):
        # Definitions need an initialized backend.
        self.empty = unidist.remote(work.empty)
        self.increment = unidist.remote(work.increment)
        self.first = unidist.remote(work.first)
        self.make = unidist.remote(work.make)
        self.counter = None

    def tasks(self, count):
        unidist.get([self.empty.remote() for _ in range(count)])

    def call(self):
        unidist.get(self.empty.remote())

    def actor(self):
        # Made late, since with pymp an actor occupies a worker.
        self.counter = self.counter or unidist.remote(work.Counter).remote()
        return self.counter

    def actor_calls(self, count):
        actor = self.actor()
        unidist.get([actor.add.remote(1) for _ in range(count)])

    def actor_call(self):
        unidist.get(self.actor().add.remote(1))

    def chain(self, length):
        self.counter = None  # frees the worker that it occupies with pymp
        end = self.increment.remote(0)
        for _ in range(length - 1):
            end = self.increment.remote(end)
        unidist.get(end)

    def put(self, data):
        return unidist.put(data)

    def get(self, reference):
        return unidist.get(reference)

    def task_on(self, reference):
        unidist.get(self.first.remote(reference))

    def result(self, length):
        unidist.get(self.make.remote(length))


if __name__ == "__main__":
    options = arguments(backend=["pymp", "mpi", "mpi-shared"])
    backend, *shared = options.backend.split("-")
    unidist.config.Backend.put(backend)
    unidist.config.CpuCount.put(options.workers)
    unidist.config.MpiSpawn.put(False)
    unidist.config.MpiSharedObjectStore.put(bool(shared))
    unidist.init()  # with mpi, only the first process returns from here
    measure(Unidist(), options.quick)
    if backend == "mpi":
        unidist.shutdown()
