"""The functions and the actor that run on every peer."""

import numpy


def empty(_=None):
    pass


def increment(x):
    return x + 1


def first(data):
    return int(data[0])


def make(length):
    return numpy.full(length, 7, dtype=numpy.uint8)


class Counter:
    def __init__(self):
        self.count = 0

    def add(self, more):
        self.count += more
        return self.count
