"""pshmem, in each rank of a job: `mpiexec -n RANKS python with_pshmem.py ..`.

It measures the same as `unidist-bench/src/spmd/ranks.rs`, in the same way. The number of workers is that of ranks.
MPI4PY_LIBMPI is the library of the MPI that starts the job; another one is an error.
"""

import os
import sys
import tempfile
import time

from common import arguments, say

# The number of doubles in 64 MiB.
LENGTH = 8 << 20
CORES = 2
TASKS = 100_000


class Ranks:
    """The ranks of the job, and how much they measure."""

    def __init__(self, comm, quick):
        self.comm = comm
        self.samples = 3 if quick else 7
        self.budget = 0.05 if quick else 0.2
        self.quick = quick

    def say(self, name, took):
        """Prints the duration of the slowest rank, once."""
        from mpi4py import MPI

        longest = self.comm.allreduce(took, op=MPI.MAX)
        if self.comm.rank == 0:
            say(name, longest)

    def time(self, run):
        """The duration in this rank, from a common barrier."""
        self.comm.Barrier()
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    def mean(self, run):
        """The mean duration of repeated runs."""
        run()
        count, start = 0, time.perf_counter()
        while True:
            for _ in range(10):
                run()
            count += 10
            took = time.perf_counter() - start
            if took > self.budget:
                return took / count

    def wait_in_barrier(self):
        """Waits as programs usually do: it spins."""
        self.comm.Barrier()

    def wait_asleep(self):
        """Waits asleep, as unidist's ranks do. The other ranks must not need this rank meanwhile."""
        arrived = self.comm.Ibarrier()
        while not arrived.Test():
            time.sleep(0.01)


def array(ranks):
    import numpy
    from pshmem import MPIShared

    comm = ranks.comm
    with MPIShared((LENGTH,), numpy.float64, comm) as shared:
        data = numpy.zeros(LENGTH) if comm.rank == 0 else None
        for sample in range(ranks.samples + 1):
            if comm.rank == 0:
                data.fill(sample)
            took = ranks.time(lambda: shared.set(data, (0,), fromrank=0))
            assert shared[0] == shared[LENGTH - 1] == sample
            if sample > 0:
                ranks.say("set of 64 MiB", took)
    count = 50 if ranks.quick else 200
    with MPIShared((3, 5), numpy.float64, comm) as shared:
        data = numpy.arange(6.0).reshape(2, 3) if comm.rank == 0 else None

        def sets():
            for _ in range(count):
                shared.set(data, (1, 1), fromrank=0)

        for sample in range(ranks.samples):
            ranks.say("set of 2 x 3", ranks.time(sets) / count)
        assert shared[2, 3] == 5.0


def lock(ranks):
    from pshmem import MPILock

    comm = ranks.comm
    last = comm.size - 1
    with MPILock(comm) as mutex:

        def once():
            mutex.lock()
            mutex.unlock()

        # The first rank holds the list of waiting ranks. It may have to take part in operations of another rank, so it
        # must not sleep then.
        for name, taker, wait in [
            ("lock + unlock", 0, ranks.wait_asleep),
            ("lock + unlock, others in Barrier", 0, ranks.wait_in_barrier),
            ("lock + unlock by another rank", last, ranks.wait_in_barrier),
        ]:
            for _ in range(ranks.samples):
                comm.Barrier()
                took = ranks.mean(once) if comm.rank == taker else 0.0
                wait()
                ranks.say(name, took)


def hand_over(ranks):
    from pshmem import MPILock

    comm = ranks.comm
    with MPILock(comm) as mutex:
        at_once(ranks, mutex)
        waited(ranks, mutex)


def for_a_while(ranks, once):
    """All ranks call `once` for a while. The initial phase does not count; returns the duration of the rest."""
    begin, window = 0.02, 0.1 if ranks.quick else 0.3
    ranks.comm.Barrier()
    start = time.perf_counter()
    while True:
        now = time.perf_counter() - start
        if now > begin + window:
            return window
        once(now > begin)


def at_once(ranks, mutex):
    """The time per acquisition with contention."""
    for _ in range(ranks.samples):
        count = 0

        def once(counts):
            nonlocal count
            count += counts
            mutex.lock()
            mutex.unlock()

        window = for_a_while(ranks, once)
        total = ranks.comm.allreduce(count)
        if ranks.comm.rank == 0:
            say("lock + unlock by all at once", window / total)


def waited(ranks, mutex):
    """The time from just before the release of the lock until a waiting rank has it."""
    stamp = shared_file(ranks.comm)
    for _ in range(ranks.samples):
        took = count = 0

        def once(counts):
            nonlocal took, count
            called = time.monotonic_ns()
            mutex.lock()
            held = time.monotonic_ns()
            given_back = int.from_bytes(os.pread(stamp, 8, 0), sys.byteorder)
            if counts and given_back > called:
                took += held - given_back
                count += 1
            os.pwrite(stamp, time.monotonic_ns().to_bytes(8, sys.byteorder), 0)
            mutex.unlock()

        for_a_while(ranks, once)
        took, count = ranks.comm.allreduce(took), ranks.comm.allreduce(count)
        if ranks.comm.rank == 0 and count > 0:
            say("hand-over on 2 cores", took * 1e-9 / count)


def shared_file(comm):
    """An unlinked file that the ranks of a host share."""
    made = tempfile.mkstemp() if comm.rank == 0 else None
    path = comm.bcast(made and made[1])
    file = made[0] if made else os.open(path, os.O_RDWR)
    comm.Barrier()
    if made:
        os.unlink(path)
    return file


def tasks(ranks):
    """A call scans all tasks up to the first open one, so its cost is measured at several positions."""
    import numpy
    from pshmem import MPIBatch

    places = 4 if ranks.quick else 10
    total = 0.0
    for place in range(places):
        first = TASKS * (2 * place + 1) // (2 * places)
        states = numpy.full(TASKS, MPIBatch.OPEN, dtype=numpy.int32)
        states[:first] = MPIBatch.DONE
        with MPIBatch(ranks.comm, 1, TASKS, init_state=states) as batch:
            ranks.comm.Barrier()
            if ranks.comm.rank == 0:
                start = time.perf_counter()
                given = batch.next_task(), batch.next_task()
                total += (time.perf_counter() - start) / 2
                assert given == (first, first + 1), f"{given} are not the first open tasks from {first}"
            ranks.wait_asleep()
    ranks.say("next_task of 100,000", total / places)


PARTS = {"array": array, "lock": lock, "hand-over": hand_over, "tasks": tasks}


def check_library():
    """Fails unless this process uses the MPI of the job."""
    wanted = os.path.realpath(os.environ["MPI4PY_LIBMPI"])
    with open("/proc/self/maps") as maps:
        files = {os.path.realpath(line.split(maxsplit=5)[5].strip()) for line in maps if "/libmpi.so" in line}
    if files != {wanted}:
        raise RuntimeError(f"this process uses the MPI {files}, not {wanted}")


if __name__ == "__main__":
    options = arguments(part=PARTS)
    if options.part == "hand-over":
        # Before MPI starts threads.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    from mpi4py import MPI

    check_library()
    world = MPI.COMM_WORLD
    if world.size != options.workers:
        raise RuntimeError(f"this needs {options.workers} ranks, not {world.size}")
    PARTS[options.part](Ranks(world, options.quick))
