"""How values look on every page: icons, outside text, times, money, sizes. Reads no database, decides nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import conditional_escape, escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from runs import moments
from runs import text as texts
from runs.limits.units import Unit, about
from runs.shown.glyphs import glyph
from runs.shown.history import Line
from runs.shown.timeline import Timeline
from runs.shown.values import laid_out

MOST_FIELDS = 60  # of a value that is cut
MOST_SAID = 160  # characters of one thing that an event says

register = template.Library()


@register.simple_tag
def icon(name: str, size: int = 16) -> SafeString:
    """A drawing from the page's sprite. It carries no meaning alone: a word stands beside it."""
    return format_html(
        '<svg width="{0}" height="{0}" viewBox="0 0 16 16" aria-hidden="true"><use href="#i-{1}"/></svg>',
        size,
        name,
    )


@register.filter
def outside(value: Any, limit: int | None = None) -> SafeString:
    """A value that came from outside or from an agent: escaped, hidden characters boxed, bidi kept to itself.

    `limit` cuts with an ellipsis; without it texts.LIMIT does. 0 shows all.
    """
    cut_at = texts.LIMIT if limit is None else (limit or None)
    seen = texts.shown(as_text(value), cut_at)
    return format_html("<bdi>{}{}</bdi>", _markup(seen), "…" if seen.cut else "")


@register.filter
def in_title(value: Any, limit: int = 400) -> str:
    """A value that came from outside for the `title` of what may be cut: hidden characters as [RLO], nothing bidi."""
    seen = texts.shown(as_text(value), limit)
    return "".join(f"[{one.label}]" if one.name else one.text for one in seen.pieces) + (
        "…" if seen.cut else ""
    )


@register.filter
def cut(value: Any) -> bool:
    """Whether `outside` shows less than everything."""
    return len(as_text(value)) > texts.LIMIT


@register.filter
def hidden_names(value: Any) -> str:
    """The hidden characters of a value as words, for beside a form's field; empty for none."""
    return ", ".join(texts.hidden_names(as_text(value))[:12])


@register.filter
def pairs(value: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The names and values of a mapping. In a template `value.items` would be the value named "items"."""
    return list(value.items())


@register.filter
def size_of(value: Any) -> int:
    return len(as_text(value))


def as_text(value: Any) -> str:
    """A plain value as people read it: text as it is, the rest as JSON with its order kept."""
    if isinstance(value, str):
        return value
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float, Decimal)):
        return str(value)
    return laid_out(value)


def _markup(seen: texts.Shown) -> SafeString:
    return format_html_join("", "{}", ((_piece(piece),) for piece in seen.pieces))


def _piece(piece: texts.Piece) -> SafeString:
    if not piece.name:
        return SafeString(conditional_escape(piece.text))
    return format_html('<span class="hid" title="{}">{}</span>', piece.title, piece.label)


@register.filter
def body(value: Any, limit: int | None = None) -> SafeString:
    """A stored JSON value for a monospace block: `field  value` lines for an object, else indented JSON."""
    cut_at = texts.LIMIT if limit is None else (limit or None)
    if not isinstance(value, dict) or not value:
        return outside(value, cut_at or 0)
    shown = list(value.items())[: MOST_FIELDS if cut_at else None]
    widest = min(max(len(name) for name, _ in shown), 18)
    lines = [
        format_html("<b>{}</b>  {}", outside(name.ljust(widest), 80), outside(item, cut_at or 0))
        for name, item in shown
    ]
    if len(shown) < len(value):
        lines.append(format_html("… and {} more fields", len(value) - len(shown)))
    return format_html_join(mark_safe("\n"), "{}", ((line,) for line in lines))


@register.filter
def moment(value: datetime | None) -> SafeString:
    """A time to the second in UTC; with the day when it is not today's, with the year when it is not this one."""
    if value is None:
        return SafeString("")
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        value.astimezone(UTC).isoformat(timespec="milliseconds"),
        moments.in_full(value),
        moments.told(value, timezone.now()),
    )


@register.filter
def dated(value: datetime) -> SafeString:
    """The end of a span: with its day also when that is today."""
    utc = value.astimezone(UTC)
    stamp, full = utc.isoformat(timespec="milliseconds"), moments.in_full(value)
    return format_html('<time datetime="{}" title="{}">{}</time>', stamp, full, f"{utc:%-d %b %H:%M:%S}")


@register.filter
def written(value: Any, limit: int | None = None) -> SafeString:
    """What a record holds: moments, which it keeps in the machine's form, as everywhere; the rest as `outside`."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) and "T" in value else None
    except ValueError:
        found = None
    return outside(value, limit) if found is None or found.tzinfo is None else moment(found)


@register.filter
def is_past(value: datetime | None) -> bool:
    return value is not None and value <= timezone.now()


@register.filter
def until(value: datetime, now: datetime | None = None) -> str:
    """How long it is from now to that moment, in two units at most."""
    return span((value - (now or timezone.now())).total_seconds())


@register.filter
def left(value: datetime, now: datetime | None = None) -> str:
    """The same for a list that counts down, as static/js/clock.js goes on with it."""
    return moments.left((value - (now or timezone.now())).total_seconds())


@register.filter
def since(value: datetime) -> str:
    return span((timezone.now() - value).total_seconds())


@register.filter
def span(value: float | timedelta | None) -> str:
    """A number of seconds as people say it: 0.4 s, 17 s, 6 min 50, 1 h 05, 3 d 4 h. Never negative."""
    if value is None:
        return ""
    return moments.span(value.total_seconds() if isinstance(value, timedelta) else float(value))


@register.filter
def money(micros: int | None) -> str:
    """Millionths of a US dollar. Small amounts keep the digits that matter."""
    return "" if micros is None else about(Unit.MONEY, micros)


@register.filter
def short(digest: str) -> str:
    """The first eight digits of a digest, in two groups."""
    return f"{digest[:4]} {digest[4:8]}" if digest else "none"


@register.filter
def capped(count: int) -> str:
    """Counts stop at 999+."""
    return str(count) if count < 1000 else "999+"


@register.filter
def thousands(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


@register.filter
def field_words(name: str) -> str:
    """A machine's name as words."""
    return name.replace("_", " ")


@register.filter
def get(mapping: Any, key: str) -> Any:
    """A value of a mapping by a key that is only known when the page is made."""
    return mapping.get(key, "") if mapping else ""


@register.simple_tag
def state(name: str, word: str = "", size: int = 16) -> SafeString:
    """A state as glyph, word and tone."""
    drawing, tone = glyph(name)
    return format_html('<span class="is" data-s="{}">{}{}</span>', tone, icon(drawing, size), word or name)


@register.simple_tag
def state_glyph(name: str, size: int = 14) -> SafeString:
    """A state's glyph alone, where its word stands beside it."""
    drawing, tone = glyph(name)
    return format_html('<span class="is" data-s="{}">{}</span>', tone, icon(drawing, size))


@register.simple_tag
def gridlines(timeline: Timeline) -> SafeString:
    """The upright lines behind every row of a timeline, made once for all of them."""
    lines = [("grid", tick.x) for tick in timeline.ticks]
    if timeline.now is not None:
        lines.append(("now", timeline.now))
    return format_html_join("", '<line class="{0}" x1="{1}%" x2="{1}%" y1="-4" y2="36"/>', lines)


@register.filter
def in_lines(text: str) -> str:
    """JSON for a box in which people write it, an item a line where it fits. What is not JSON, or has numbers that
    would be written otherwise, stays as it was written."""
    try:
        return laid_out(json.loads(text, parse_float=_as_written, parse_constant=_as_written), 84)
    except (ValueError, RecursionError):
        return text


def _as_written(number: str) -> float:
    """Raises ValueError for a number that would not come out as it went in."""
    if repr(float(number)) != number:
        raise ValueError(f"{number} is written otherwise")
    return float(number)


@register.filter
def rows_for(text: str, letters: int = 80) -> int:
    """How many rows a box needs in which this text is read and written; beyond twenty it scrolls."""
    lines = text.splitlines() or [""]
    return min(20, max(3, 1 + sum(1 + len(line) // letters for line in lines[:20])))


@register.filter
def words(text: str) -> list[str]:
    """A template's list of words."""
    return text.split()


@register.filter
def seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


@register.filter
def event_rows(events: Sequence[Line]) -> SafeString:
    """The rows of a table of events, made here: a template takes three times as long for thousands of them."""
    words: dict[str, SafeString] = {}
    return SafeString("".join(_event_row(one, words) for one in events))


def _event_row(one: Line, words: dict[str, SafeString]) -> str:
    task = "" if one.parent is None or one.place is None else f", task {one.place + 1}"
    said = " ".join(
        f'<span class="pair-in"><span class="mute">{escape(name)}</span> {_words(value, words)}</span>'
        for name, value in one.data.items()
        if value != ""
    )
    return (
        f'<tr><td class="num mute">{one.seq}</td><td class="nowrap">{moment(one.at)}</td>'
        f'<td class="nowrap">{escape(one.kind)}</td><td class="at">{escape(one.node or "")}{task}</td>'
        f'<td class="small soft full">{said}</td></tr>'
    )


def _words(value: Any, known: dict[str, SafeString]) -> SafeString:
    """Most events of a run say the same few things."""
    if not isinstance(value, str):
        return written(value, MOST_SAID)
    if value not in known:
        known[value] = written(value, MOST_SAID)
    return known[value]


@register.filter
def last_seq(events: Any) -> int:
    """The number of the last event of a page; 0 for none."""
    return events[-1].seq if events else 0
