"""Damage as it happens to files, or as somebody does to them: the same for the same seed."""

from collections.abc import Callable
from random import Random

LENGTHS = (
    0,
    1,
    2,
    0x7F,
    0xFF,
    0x7FFF,
    0xFFFF,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63,
    2**64 - 1,
)
"""Numbers at which readers of length fields go wrong."""
MOST_STEPS = 4
BLOCK = 64
"""Bytes that are deleted, repeated or replaced together, at most."""


def mutate(content: bytes, others: list[bytes], random: Random) -> bytes:
    """Damage a file in one to `MOST_STEPS` ways.

    Args:
        others: files from which parts are taken.
    """
    damaged = bytearray(content)
    for _ in range(random.randint(1, MOST_STEPS)):
        if damaged:
            random.choice(MUTATIONS)(damaged, others, random)
    return bytes(damaged)


def _flip_bit(content: bytearray, _others: list[bytes], random: Random) -> None:
    content[_place(content, random)] ^= 1 << random.randrange(8)


def _set_byte(content: bytearray, _others: list[bytes], random: Random) -> None:
    content[_place(content, random)] = random.choice(
        (0, 1, 0x7F, 0x80, 0xFF, random.randrange(256))
    )


def _set_length(content: bytearray, _others: list[bytes], random: Random) -> None:
    size, order = random.choice((2, 4, 8)), random.choice(("big", "little"))
    number = random.choice(LENGTHS) % (1 << (8 * size))
    start = _place(content, random)
    content[start : start + size] = number.to_bytes(size, order)  # type: ignore[arg-type]


def _set_digits(content: bytearray, _others: list[bytes], random: Random) -> None:
    """Numbers in text, such as shapes in NumPy's headers."""
    digits = [place for place, byte in enumerate(content[:256]) if 48 <= byte <= 57]
    if digits:
        place = random.choice(digits)
        content[place : place + 1] = str(random.choice((-1, *LENGTHS))).encode()


def _truncate(content: bytearray, _others: list[bytes], random: Random) -> None:
    del content[_place(content, random) :]


def _delete(content: bytearray, _others: list[bytes], random: Random) -> None:
    start = _place(content, random)
    del content[start : start + random.randint(1, BLOCK)]


def _repeat(content: bytearray, _others: list[bytes], random: Random) -> None:
    start = _place(content, random)
    content[start:start] = content[start : start + random.randint(1, BLOCK)]


def _splice(content: bytearray, others: list[bytes], random: Random) -> None:
    other = random.choice(others)
    start, source = _place(content, random), random.randrange(len(other))
    part = other[source : source + random.randint(1, BLOCK)]
    content[start : start + len(part)] = part


def _join(content: bytearray, others: list[bytes], random: Random) -> None:
    """The start of one file and the end of another."""
    start = _place(content, random)
    content[start:] = random.choice(others)[start:]


def _place(content: bytearray, random: Random) -> int:
    """Anywhere, but every other time among the first bytes, where headers are."""
    return random.randrange(len(content) if random.random() < 0.5 else min(len(content), 2 * BLOCK))


MUTATIONS: tuple[Callable[[bytearray, list[bytes], Random], None], ...] = (
    *(_flip_bit, _set_byte, _set_length, _set_digits),
    *(_truncate, _delete, _repeat, _splice, _join),
)
