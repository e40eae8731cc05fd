"""Account numbers: the form of an IBAN and its check digits (ISO 13616). Knows no bank, no country."""

import re

IBAN_PATTERN = r"^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$"


def compact(iban: str) -> str:
    """The IBAN without the gaps people write into it, in capitals."""
    return re.sub(r"[\s\u00a0\u202f]", "", iban).upper()


def digits_hold(iban: str) -> bool:
    """Whether the two check digits fit the rest (remainder 1 on division by 97)."""
    if not re.fullmatch(IBAN_PATTERN, iban):
        return False
    return int("".join(str(int(char, 36)) for char in iban[4:] + iban[:4])) % 97 == 1


def spaced(iban: str) -> str:
    """The IBAN in groups of four, as people compare it."""
    return " ".join(iban[at : at + 4] for at in range(0, len(iban), 4))
