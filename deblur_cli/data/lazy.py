"""A sequence whose items are made when they are asked for, so that millions of them cost nothing."""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar, overload

T_co = TypeVar("T_co", covariant=True)


class Lazy(Sequence[T_co], Generic[T_co]):
    """`make(number)` for each of some numbers. Slices are lazy too.

    Parameters
    ----------
    numbers : a range, or an array of integers
    make : must give equal items for equal numbers; pickled with the sequence
    """

    def __init__(self, numbers: Sequence[int], make: Callable[[int], T_co]) -> None:
        self._numbers = numbers
        self._make = make

    def __len__(self) -> int:
        """How many there are."""
        return len(self._numbers)

    @overload
    def __getitem__(self, key: int) -> T_co: ...
    @overload
    def __getitem__(self, key: slice) -> "Lazy[T_co]": ...
    def __getitem__(self, key: int | slice) -> "T_co | Lazy[T_co]":
        """The item at a place, or the sequence of those in a slice."""
        if isinstance(key, slice):
            return Lazy(self._numbers[key], self._make)
        return self._make(self._numbers[key])

    def __iter__(self) -> Iterator[T_co]:
        """All of them in order."""
        return map(self._make, self._numbers)
