"""Number formats: what is certain is read, what is not is handed back as it stood."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsconsole.shipped.invoice_intake.amounts import (
    as_amount,
    as_price,
    as_quantity,
    decimal_mark,
    read_number,
    to_cents,
    written,
)

STYLES = {
    "german": (".", ","),
    "english": (",", "."),
    "french": ("\u00a0", ","),
    "narrow": ("\u202f", ","),
    "swedish": (" ", ","),
    "swiss": ("'", "."),
    "typographic": ("\u2019", "."),
    "bare": ("", "."),
}
CENTS = st.integers(min_value=-(10**11), max_value=10**11)


def styled(value: Decimal, style: str) -> str:
    group, mark = STYLES[style]
    return f"{value:,.2f}".replace(",", "\0").replace(".", mark).replace("\0", group)


@given(cents=CENTS, style=st.sampled_from(sorted(STYLES)))
def test_every_amount_is_read_back_in_every_style(cents: int, style: str) -> None:
    value = Decimal(cents) / 100
    assert Decimal(as_amount(styled(value, style))) == value


@given(cents=CENTS, style=st.sampled_from(sorted(STYLES)), currency=st.sampled_from(["EUR", "€", "kr", "£"]))
def test_a_currency_before_or_behind_changes_nothing(cents: int, style: str, currency: str) -> None:
    value = Decimal(cents) / 100
    text = styled(value, style)
    assert as_amount(f"{currency} {text}") == as_amount(f"{text} {currency}") == as_amount(text)


@given(
    text=st.text(alphabet="0123456789.,' OlI-()€ \u00a0\u0663", max_size=14),
    mark=st.sampled_from([None, ".", ","]),
)
def test_no_text_is_read_as_an_amount_with_other_digits(text: str, mark: str | None) -> None:
    """Either the text comes back, or an amount whose digits are the text's digits (and zeros that change nothing)."""
    read = as_amount(text, mark=mark)
    if read == text.strip():
        return
    assert read.rpartition(".")[2].isdigit()
    own = "".join(char for char in text if char.isascii() and char.isdigit())
    digits = "".join(char for char in read if char.isdigit())
    assert own.startswith(digits.rstrip("0")) or digits.strip("0") == own.strip("0")
    assert "O" not in text
    assert "l" not in text


@pytest.mark.parametrize(
    "text",
    ["1.204,5O", "l.204,50", "1.20,450", "1,2,3", "12,", ",50", "", "-", "١٢٣", "1..2", "1.2OOO", "0IIO"],
)
def test_what_is_no_number_comes_back_as_it_stood(text: str) -> None:
    assert read_number(text) is None
    assert as_amount(f"  {text} ") == text


def test_one_mark_and_three_digits_are_ambiguous_without_the_document() -> None:
    assert read_number("1.204") is None
    assert read_number("1.204", mark=",") == 1204
    assert read_number("1.204", mark=".") == Decimal("1.204")
    assert read_number("0.204") == Decimal("0.204"), "nobody groups a zero"


def test_amounts_finer_than_a_cent_are_not_rounded_silently() -> None:
    assert as_amount("12.345", mark=".") == "12.345"
    assert as_price("0.2140") == "0.214"
    assert as_price("84.5") == "84.50"
    assert as_quantity("12,00") == "12"


def test_negative_amounts_in_three_notations() -> None:
    assert {as_amount("-12,50"), as_amount("12,50-"), as_amount("(12,50)"), as_amount("\u221212,50")} == {
        "-12.50"
    }


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("Summe 1.204,50 am 14.09.2026", ","),
        ("Total 84.50 on 2026-09-14", "."),
        ("84.50 and 84,50", None),
        ("no amounts, 14.09.26", None),
    ],
)
def test_the_document_tells_its_decimal_mark(text: str, mark: str | None) -> None:
    assert decimal_mark(text) == mark


@given(cents=CENTS)
def test_written_and_read_are_inverse(cents: int) -> None:
    value = Decimal(cents) / 100
    assert read_number(written(value)) == value


@given(value=st.decimals(min_value=-(10**6), max_value=10**6, places=5))
def test_rounding_is_at_most_half_a_cent_off_and_halves_go_away_from_zero(value: Decimal) -> None:
    rounded = to_cents(value)
    assert abs(rounded - value) <= Decimal("0.005")
    if abs(rounded - value) == Decimal("0.005"):
        assert abs(rounded) > abs(value)
