"""How the loops of deduplication are compiled: when their module is imported, without the interpreter lock.

Nothing is cached on disk: numba checks such a cache against the file of a function alone, and not against what the
function calls or reads elsewhere.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit, types

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Machine code that needs no interpreter lock, for whatever types it is called with."""
    return cast(Function, njit(nogil=True)(function))


def compiled_for(*given: types.Type) -> Any:
    """Machine code for these types alone, so that no other view of an array is compiled for anew."""
    return njit(types.void(*given), nogil=True)


def given(item: types.Type) -> types.Type:
    """A one-dimensional array that is read."""
    return types.Array(item, 1, "C", readonly=True)


def filled(item: types.Type, dimensions: int = 1) -> types.Type:
    """An array that is written."""
    return types.Array(item, dimensions, "C")
