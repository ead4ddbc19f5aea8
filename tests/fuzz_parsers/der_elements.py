"""DER, element by element (`engine/x509/der_reader.py`)."""

from __future__ import annotations

from engine.x509.der_reader import NotDer, positive_integer, read
from tests.fuzz_parsers import ocsp_request, public_key

_CONSTRUCTED = 0x20  # X.690 8.1.2.5


def seeds() -> list[bytes]:
    return [*ocsp_request.seeds(), *public_key.seeds()]


def attempt(octets: bytes) -> bool:
    unread = [(0, len(octets))]
    try:
        while unread:
            position, end = unread.pop()
            while position < end:
                tag, start, stop = read(octets, position, end)
                assert position < start <= stop <= end
                if tag == 0x02:
                    value, after = positive_integer(octets, position, end)
                    assert value > 0 and after == stop
                if tag & _CONSTRUCTED:
                    unread.append((start, stop))
                position = stop
    except NotDer:
        return False
    return True
