"""Serial numbers: positive, 16 octets, unique, 80 random bits, near each other."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from engine.clock import SetClock, SystemClock
from engine.x509 import der
from engine.x509.serial_numbers import SerialNumbers, time_of

NOW = datetime(2026, 11, 23, 2, 3, 4, 567_000, tzinfo=UTC)


def test_serials_are_positive_and_sixteen_octets_as_integers_too() -> None:
    for start in (datetime(1970, 1, 1, tzinfo=UTC), NOW, datetime(3999, 12, 31, tzinfo=UTC)):
        for serial in SerialNumbers(SetClock(start)).take(100):
            assert 0x40 <= serial[0] < 0x80
            assert der.integer(int.from_bytes(serial, "big")) == b"\x02\x10" + serial


def test_serials_of_many_calls_are_distinct_and_each_takes_randomness_once() -> None:
    calls: list[int] = []
    source = random.Random(2)

    def octets(count: int) -> bytes:
        calls.append(count)
        return source.randbytes(count)

    numbers = SerialNumbers(SystemClock(), octets)
    taken = [serial for _ in range(50) for serial in numbers.take(200)]
    assert len(set(taken)) == 10_000
    assert calls == [2000] * 50  # ten random octets each


def test_all_eighty_bits_after_the_time_are_random() -> None:
    taken = [int.from_bytes(serial, "big") for serial in SerialNumbers(SetClock(NOW)).take(4000)]
    for bit in range(80):
        ones = sum(number >> bit & 1 for number in taken)
        assert 1600 < ones < 2400  # twelve standard deviations each way
    assert len({number >> 80 for number in taken}) == 1


def test_later_serials_sort_after_earlier_ones() -> None:
    clock = SetClock(NOW)
    numbers = SerialNumbers(clock)
    earlier = numbers.take(20)
    clock.move(timedelta(milliseconds=1))
    assert max(earlier) < min(numbers.take(20))
    assert numbers.take(0) == []


def test_a_serial_tells_when_it_was_made() -> None:
    for moment in (datetime(1970, 1, 1, tzinfo=UTC), NOW):
        (serial,) = SerialNumbers(SetClock(moment + timedelta(microseconds=999))).take(1)
        assert time_of(serial) == moment
