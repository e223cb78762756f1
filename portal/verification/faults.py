"""A panic of the native verifier reaches Python as a BaseException; here it becomes an error like others."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from portal.errors import VerifierFault

P = ParamSpec("P")
T = TypeVar("T")


def contained(call: Callable[P, T]) -> Callable[P, T]:
    """Turn a panic inside `call` into `VerifierFault`, which counts as unreadable and never as a pass."""

    @wraps(call)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except BaseException as error:
            # The class is made inside the extension and cannot be imported: it is known by its name.
            if type(error).__name__ != "PanicException":
                raise
            raise VerifierFault(
                f"The verifier itself failed ({error}). Nothing was verified; report this with the file."
            ) from None

    return guarded
