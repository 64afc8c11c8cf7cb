import pytest

from tasks.codes.scales import unit_ratio


@pytest.mark.parametrize(
    ("found", "trained", "expected"),
    [
        (("uint8", 255), ("uint8", 255), 1),
        (("uint8", 90), ("uint8", 255), 1),
        (("uint16", 255), ("uint8", 255), 1),  # int64 of 0 to 255 is stored as uint16
        (("uint8", 255), ("uint16", 255), 1),
        (("float32", 255), ("uint8", 254), 1),
        (("float32", 1), ("uint8", 255), 1 / 255),
        (("float32", 0.2), ("uint8", 255), 1 / 255),
        (("float32", 1), ("float32", 255), 1 / 255),
        (("uint8", 1), ("uint8", 255), 1 / 255),  # truth values
        (("uint8", 255), ("float32", 1), 255),
        (("uint8", 80), ("float32", 0.9), 255),
        (("float32", 255), ("float32", 1), 255),
        (("uint8", 255), ("uint8", 1), 255),
        # Of one type, values that are some times brighter are only brighter.
        (("float32", 1.2), ("float32", 1), 1),
        (("uint8", 16), ("uint8", 1), 1),
        (("uint8", 1), ("uint8", 16), 1),
        (("uint16", 60000), ("uint16", 200), 1),
        # Digits of 0 to 16, 12 bits, and float that is neither of 0 to 1 nor of 0 to 255.
        (("float32", 1), ("uint8", 16), None),
        (("uint16", 4095), ("uint8", 255), None),
        (("uint8", 255), ("uint16", 4095), None),
        (("float32", 20), ("uint8", 255), None),
        (("float32", 300), ("uint8", 255), None),
    ],
)
def test_units_are_told_by_type_and_greatest_value(
    found: tuple[str, float], trained: tuple[str, float], expected: float | None
) -> None:
    assert unit_ratio(*found, *trained) == expected


def test_the_greatest_byte_becomes_exactly_1() -> None:
    ratio = unit_ratio("float32", 1, "uint8", 255)
    assert ratio
    assert 255 * ratio == 1
