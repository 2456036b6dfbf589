"""Ray, on this machine alone."""

import tempfile

import numpy
import ray

from common import Peer, arguments, measure


@ray.remote
def empty():
    pass


@ray.remote
def increment(x):
    return x + 1


@ray.remote
def first(data):
    return int(data[0])


@ray.remote
def make(length):
    return numpy.full(length, 7, dtype=numpy.uint8)


@ray.remote(num_cpus=0)
class Counter:
    def __init__(self):
        self.count = 0

    def add(self, more):
        self.count += more
        return self.count


class Ray(Peer):
    def __init__(self):
        self.counter = Counter.remote()

    def tasks(self, count):
        ray.get([empty.remote() for _ in range(count)])

    def call(self):
        ray.get(empty.remote())

    def actor_calls(self, count):
        ray.get([self.counter.add.remote(1) for _ in range(count)])

    def actor_call(self):
        ray.get(self.counter.add.remote(1))

    def chain(self, length):
        end = increment.remote(0)
        for _ in range(length - 1):
            end = increment.remote(end)
        ray.get(end)

    def put(self, data):
        return ray.put(data)

    def get(self, reference):
        return ray.get(reference)

    def task_on(self, reference):
        ray.get(first.remote(reference))

    def result(self, length):
        ray.get(make.remote(length))


if __name__ == "__main__":
    options = arguments()
    ray.init(
        num_cpus=options.workers,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=1 << 30,
        _temp_dir=tempfile.gettempdir(),
    )
    try:
        measure(Ray(), options.quick)
    finally:
        ray.shutdown()
