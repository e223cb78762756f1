"""The processes that parse what strangers wrote: kept warm, confined, and made anew in a fork of this one."""

import os
import sys
from functools import cache

from portal import _verifier

# Only this runs in such a process before it is confined, and no Python after. Descriptors that some library
# left open are closed first.
_CHILD = """
import os, sys
for name in os.listdir("/proc/self/fd"):
    if int(name) > 2:
        try:
            os.close(int(name))
        except OSError:
            pass
from importlib.machinery import ExtensionFileLoader, ModuleSpec
loader = ExtensionFileLoader("_verifier", sys.argv[1])
module = loader.create_module(ModuleSpec("_verifier", loader, origin=sys.argv[1]))
loader.exec_module(module)
module.serve_child()
"""


@cache
def children() -> _verifier.Children:
    """The confined processes of this one. None is started before it is needed."""
    command = [sys.executable, "-I", "-S", "-B", "-c", _CHILD, _verifier.__file__]
    return _verifier.Children(command, list(_environment().items()))


def _environment() -> dict[str, str]:
    # One arena: before others shrink, glibc looks into /proc, which the kernel would take for an attack.
    kept = {"MALLOC_ARENA_MAX": "1"}
    if "LD_LIBRARY_PATH" in os.environ:  # an interpreter that needs it to start needs it here too
        kept["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return kept


# They answer to the process that started them only.
os.register_at_fork(after_in_child=children.cache_clear)
