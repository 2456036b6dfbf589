"""Prints which version of each named package is installed: the name, a tab, and the version or nothing."""

import importlib.metadata
import platform
import sys

for name in sys.argv[1:]:
    try:
        found = platform.python_version() if name == "python" else importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found = ""
    print(f"{name}\t{found}")
