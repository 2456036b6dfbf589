"""Dask's distributed scheduler, with workers on this machine."""

from dask.distributed import Client, LocalCluster

from common import Peer, arguments, measure
from work import Counter, empty, first, increment, make


class Dask(Peer):
    def __init__(self, client):
        self.client = client
        self.counter = client.submit(Counter, actor=True).result()

    # `pure=False`, since otherwise calls with equal arguments run only once.

    def tasks(self, count):
        self.client.gather(self.client.map(empty, range(count), pure=False))

    def call(self):
        self.client.submit(empty, 0, pure=False).result()

    def actor_calls(self, count):
        for future in [self.counter.add(1) for _ in range(count)]:
            future.result()

    def actor_call(self):
        self.counter.add(1).result()

    def chain(self, length):
        end = 0
        for _ in range(length):
            end = self.client.submit(increment, end, pure=False)
        end.result()

    def put(self, data):
        return self.client.scatter(data, hash=False)

    def get(self, reference):
        return reference.result()

    def task_on(self, reference):
        self.client.submit(first, reference, pure=False).result()

    def result(self, length):
        self.client.submit(make, length, pure=False).result()


if __name__ == "__main__":
    options = arguments()
    with LocalCluster(
        n_workers=options.workers, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster, Client(cluster) as connected:
        measure(Dask(connected), options.quick)
