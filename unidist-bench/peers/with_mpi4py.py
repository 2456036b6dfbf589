"""mpi4py.futures: `mpiexec -n WORKERS+1 python -m mpi4py.futures with_mpi4py.py ..`."""

from mpi4py.futures import MPIPoolExecutor

from common import Peer, arguments, measure
from work import empty, first, increment, make


class Mpi4py(Peer):
    def __init__(self, pool):
        self.pool = pool

    def tasks(self, count):
        for _ in self.pool.map(empty, range(count), chunksize=1):
            pass

    def map(self, count):
        for place, result in enumerate(self.pool.map(increment, range(count), chunksize=1)):
            assert result == place + 1

    def call(self):
        self.pool.submit(empty, 0).result()

    def task_on(self, data):
        self.pool.submit(first, data).result()

    def result(self, length):
        self.pool.submit(make, length).result()


if __name__ == "__main__":
    options = arguments()
    with MPIPoolExecutor(options.workers) as executor:
        measure(Mpi4py(executor), options.quick)
