"""Prints a line for each named package: the name, a tab, and the installed version, or nothing."""

import importlib.metadata
import platform
import sys

for name in sys.argv[1:]:
    try:
        found = platform.python_version() if name == "python" else importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found = ""
    print(f"{name}\t{found}")
