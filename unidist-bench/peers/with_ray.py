"""Ray, on this machine."""

import tempfile

import ray

import work
from common import Peer, arguments, measure

empty, increment, first, make = map(ray.remote, [work.empty, work.increment, work.first, work.make])
Counter = ray.remote(num_cpus=0)(work.Counter)


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
