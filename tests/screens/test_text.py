"""Hidden characters get names, long text is cut, and nothing is lost on the way."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.templatetags.console import as_text, body, outside, span
from runs.text import LIMIT, PLAIN, hidden_names, name_of, shown


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("plain text, 1 204,50 €", []),
        ("French 1\u202f204,50 and 12\u00a0%", []),
        ("zero\u200bwidth", ["ZWSP"]),
        ("zero\u200b\u200b\u200bwidth", ["ZWSP×3"]),
        ("\u202e0001\u202c", ["RLO", "PDF"]),
        ("\u2066isolated\u2069", ["LRI", "PDI"]),
        ("soft\u00adhyphen", ["SHY"]),
        ("\x1b[31mred\x1b[0m", ["ESC", "ESC"]),
        ("bell\x07 back\x08 del\x7f nul\x00", ["BEL", "BS", "DEL", "NUL"]),
        ("carriage\rreturn", ["CR"]),
        ("c1 \x9b csi", ["U+009B"]),
        ("".join(chr(0xE0000 + ord(char)) for char in "hidden words 1"), ["TAG×14"]),
        ("a\ufe0f", ["VS"]),
        ("✔\ufe0f done", []),
        ("private \ue000 use", ["U+E000"]),
        ("nobody's \U0003ffff", ["U+3FFFF"]),
        ("\ufeffbom", ["BOM"]),
        ("hangul \u3164 filler", ["HFILL"]),
        ("braille \u2800 blank", ["BLANK"]),
        ("line \u2028 separator", ["LSEP"]),
        ("wide \u3000 space", ["SPACE"]),
        ("Z\u0301\u0301\u0301\u0301\u0301\u0301algo", ["MARK×3"]),
        ("Việt Nam, naïve, Ω", []),
        ("עברית and العربية", []),
    ],
)
def test_what_cannot_be_seen_gets_a_name(text: str, labels: list[str]) -> None:
    assert hidden_names(text) == labels


def test_what_is_called_plain_has_no_name_in_any_company() -> None:
    """So that a text of nothing else need not be looked at character by character."""
    plain = [char for char in map(chr, range(0x3000)) if PLAIN.fullmatch(char)]
    assert len(plain) > 600
    assert [char for char in plain if name_of(char) or unicodedata.combining(char)] == []


@given(st.text())
def test_no_character_is_lost_or_added(text: str) -> None:
    assert "".join(piece.text for piece in shown(text, None).pieces) == text


@given(st.text())
def test_no_control_bidi_or_format_character_stays_unnamed(text: str) -> None:
    for piece in shown(text, None).pieces:
        if piece.name:
            continue
        rest = piece.text.replace("\n", "").replace("\t", "").replace("\ufe0f", "")
        assert not [char for char in rest if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn")]


@given(st.text(min_size=LIMIT + 1))
def test_long_text_is_cut_and_says_how_long_it_is(text: str) -> None:
    seen = shown(text)
    assert seen.cut
    assert seen.total == len(text)
    assert sum(len(piece.text) for piece in seen.pieces) == LIMIT


@given(st.text())
def test_outside_text_is_never_markup(text: str) -> None:
    html = str(outside(text, 0))
    inner = html.removeprefix("<bdi>").removesuffix("</bdi>")
    for piece in inner.split('<span class="hid" title="')[1:]:
        inner = inner.replace(f'<span class="hid" title="{piece.split("</span>")[0]}</span>', "")
    assert "<" not in inner
    assert ">" not in inner


def test_an_empty_text_is_shown_as_nothing() -> None:
    assert str(outside("")) == "<bdi></bdi>"


def test_values_are_read_as_people_read_them() -> None:
    assert [as_text(value) for value in (None, True, 5, "x")] == ["none", "yes", "5", "x"]
    assert as_text({"a": ["<b>"]}) == '{"a": ["<b>"]}'


def test_a_body_with_markup_in_names_and_values_stays_text() -> None:
    html = str(body({"<script>": "<img src=x>", "list": ["<i>"]}))
    assert "<script>" not in html
    assert "<img" not in html
    assert "<i>" not in html
    assert "&lt;script&gt;" in html


def test_every_plain_letter_has_no_name() -> None:
    assert not [char for char in map(chr, range(0x20, 0x7F)) if name_of(char)]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0.0 s"), (0.42, "0.4 s"), (17, "17 s"), (410, "6 min 50"), (3900, "1 h 05"), (277_200, "3 d 5 h")],
)
def test_spans_are_said_in_two_units(seconds: float, words: str) -> None:
    assert span(seconds) == words
