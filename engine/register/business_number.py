"""The check digit of the 統一編號, the number of every registered business."""

from __future__ import annotations

_WEIGHTS = (1, 2, 1, 2, 1, 2, 4, 1)
_DIGIT_SUMS = tuple(tuple(sum(divmod(weight * digit, 10)) for digit in range(10)) for weight in _WEIGHTS)
"""For each position and digit: the decimal digits of digit x weight, added."""

RULE = (
    "a 統一編號 has 8 digits; weights 1,2,1,2,1,2,4,1; the digits of the products add up to a multiple of 5, "
    "or to one less when the 7th digit is 7 (Ministry of Finance, since 2023-04-01)"
)


def is_business_number(text: str) -> bool:
    """Say whether a text is a 統一編號 with a right check digit.

    The rule since 2023-04-01 divides by 5; numbers given out before divide by 10 and so pass as well.

    Args:
        text: the number, without spaces.
    """
    if len(text) != 8 or not (text.isascii() and text.isdigit()):
        return False
    total = 0
    for sums, digit in zip(_DIGIT_SUMS, text, strict=True):
        total += sums[ord(digit) - 48]
    # 7 x 4 = 28, whose digits 2 + 8 = 10 may be counted as 1 + 0 or as 0: one more, or the same, modulo 5
    return total % 5 == 0 or (text[6] == "7" and (total + 1) % 5 == 0)
