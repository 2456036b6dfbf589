"""multiprocessing.Pool of the standard library."""

import multiprocessing

from common import Peer, arguments, measure
from work import empty, first, increment, make

class Pool(Peer):
    def __init__(self, pool):
        self.pool = pool

    def tasks(self, count):
        self.pool.map(empty, range(count), chunksize=1)

    def map(self, count):
        assert self.pool.map(increment, range(count), chunksize=1) == list(range(1, count + 1))

    def call(self):
        self.pool.apply(empty, (0,))

    def task_on(self, data):
        self.pool.apply(first, (data,))

    def result(self, length):
        self.pool.apply(make, (length,))


if __name__ == "__main__":
    options = arguments()
    with multiprocessing.Pool(options.workers) as started:
        measure(Pool(started), options.quick)
