"""A value in shared memory: one process writes it now and then, and others read it at any time."""

from __future__ import annotations

import mmap
import struct
import zlib
from typing import Final, Generic, TypeVar

import msgspec

T = TypeVar("T")
_HEAD: Final = struct.Struct("=II")  # the length of the JSON text that follows, and its CRC-32
_SIZE: Final = 64 * 1024
_TRIES: Final = 100


class SharedValue(Generic[T]):
    """Holds one value of a msgspec type. One process writes; a reader that meets half of a write tries again."""

    def __init__(self, first: T) -> None:
        """Map the memory, with the first value; to be called before the fork."""
        self._type = type(first)
        self._memory = mmap.mmap(-1, _SIZE)
        self.write(first)

    def write(self, value: T) -> None:
        """Replace the value. Raises ValueError if it takes more than 64 KiB."""
        text = msgspec.json.encode(value)
        if _HEAD.size + len(text) > _SIZE:
            raise ValueError("the value is too long")
        self._memory[: _HEAD.size + len(text)] = _HEAD.pack(len(text), zlib.crc32(text)) + text

    def read(self) -> T:
        """Return the value. Raises ValueError if it is never whole, as when its writer was killed while writing."""
        for _ in range(_TRIES):
            length, checksum = _HEAD.unpack(self._memory[: _HEAD.size])
            text = self._memory[_HEAD.size : _HEAD.size + length]
            if zlib.crc32(text) == checksum:
                return msgspec.json.decode(text, type=self._type)
        raise ValueError("the value is damaged")
