"""Recorded runs from elsewhere, kept so that admins can rehearse over them on the page: keeping a file, forgetting it,
reading it again. They become no runs of the console, and nothing but a rehearsal that names them looks at them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.db import transaction

from escalations.audit.record import Subject, append
from escalations.audit.refused import Given, Named, recorded
from escalations.expected import IllegalMove, Invalid, NotThere
from escalations.models import Imported, ImportedRun
from escalations.roles import Act, Actor, name_of, require
from runs.agents import prices
from runs.agents.door import Usage
from runs.canonical import plain
from runs.errors import DataError
from runs.recorded import family, toolsets
from runs.recorded.toolsets import Toolsets
from runs.recorded.trace import Trace, as_line, read
from runs.rehearsal import traces
from runs.rehearsal.history import How, PastRun

MOST_RUNS = 20_000  # of one file: a rehearsal of what counts over many runs holds them all in memory
BATCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A recorded run at the door. `succeeded` only where somebody asked for it."""

    trace: Trace
    succeeded: bool | None = None


def _on_name(act: Act) -> Callable[[Given], Named]:
    def named(given: Given) -> Named:
        return act, about(str(given["name"]))

    return named


def about(name: str) -> Subject:
    return Subject(target=f"imported traces {plain(name)}")


@recorded(_on_name(Act.KEEP_TRACES))
@transaction.atomic(durable=True)
def keep(
    *, actor: Actor, name: str, runs: Iterable[Recorded], declared: Mapping[str, Any] | None = None
) -> Imported:
    """Keep recorded runs under a name. `declared`: the toolsets of their owners, as their file has them.

    Raises NotAllowed; IllegalMove when the name is taken; Invalid when it is none, when no run can be kept, when two
    have one number, or when there are more than MOST_RUNS.
    """
    require(actor, Act.KEEP_TRACES)
    name = _name(name)
    if Imported.objects.filter(name=name).exists():
        raise IllegalMove(
            f"Traces called {name!r} are kept already: forget those first, or choose another name."
        )
    made = Imported.objects.create(name=name, by=name_of(actor), runs=0, toolsets=plain(declared))
    made.runs = _kept(made, iter(runs))
    made.save(update_fields=["runs"])
    append(actor=actor, act=Act.KEEP_TRACES, subject=about(name), details={"runs": made.runs})
    return made


@recorded(_on_name(Act.FORGET_TRACES))
@transaction.atomic(durable=True)
def forget(*, actor: Actor, name: str) -> int:
    """Remove what was kept under a name; returns how many runs. Rehearsals that named it keep their figures.

    Raises NotAllowed, NotThere.
    """
    require(actor, Act.FORGET_TRACES)
    found = Imported.objects.filter(name=str(plain(name))).first()
    if found is None:
        raise NotThere(f"No traces are kept under {name!r}.")
    count, subject = found.runs, about(found.name)
    found.delete()
    append(actor=actor, act=Act.FORGET_TRACES, subject=subject, details={"runs": count})
    return count


def chosen(numbers: str) -> list[Imported]:
    """Those of a form, "3,5". Raises Invalid when one is gone."""
    wanted = [int(one) for one in numbers.split(",") if one.isdecimal() and len(one) < 18]
    found = list(Imported.objects.filter(pk__in=wanted))
    if len(found) != len(set(wanted)):
        raise Invalid([("traces", "Some of the imported traces are kept no more: choose again.")])
    return found


def histories(imported: Imported) -> Iterator[PastRun]:
    """Its runs as histories, in their order. A few at a time."""
    known = toolsets.parse(imported.toolsets) if imported.toolsets else Toolsets()
    for line in imported.lines.order_by("place").iterator(BATCH):
        yield history(read(json.loads(line.trace)), known, line.succeeded)


def history(trace: Trace, known: Toolsets, succeeded: bool | None) -> PastRun:
    """A recorded run as a rehearsal looks at it: at our prices, of the workflow that it would be here."""
    return traces.past(
        trace,
        workflow=family.name_of(trace.workflow),
        team=family.TEAM,
        price=_price,
        how=_how(succeeded),
        toolsets=known,
    )


def _name(name: str) -> str:
    cleaned = " ".join(str(plain(name)).split())
    if not cleaned or len(cleaned) > 80 or not cleaned.isprintable():
        raise Invalid([("name", "Give the traces a name of 1 to 80 letters.")])
    return cleaned


def _kept(made: Imported, runs: Iterator[Recorded]) -> int:
    seen: set[str] = set()
    while batch := list(islice(runs, BATCH)):
        rows = []
        for one in batch:
            if one.trace.run_id in seen:
                raise Invalid(
                    [("file", f"Two of its runs are called {one.trace.run_id!r}: name them apart.")]
                )
            rows.append(
                ImportedRun(imported=made, place=len(seen), trace=as_line(one.trace), succeeded=one.succeeded)
            )
            seen.add(one.trace.run_id)
        if len(seen) > MOST_RUNS:
            raise Invalid([("file", f"It has more than {MOST_RUNS:,} runs: split it.")])
        ImportedRun.objects.bulk_create(rows)
    if not seen:
        raise Invalid([("file", "There is no recorded run that can be read.")])
    return len(seen)


def _price(model: str, tokens_in: int, tokens_out: int) -> int | None:
    if model not in _unpriced:
        try:
            return prices.cost_micros(model, Usage(tokens_in=tokens_in, tokens_out=tokens_out))
        except DataError:
            _unpriced.add(model)
    return None


_unpriced: set[str] = set()  # asking again for each call of thousands takes longer than all the rest


def _how(succeeded: bool | None) -> How:
    if succeeded is None:
        return How.UNKNOWN
    return How.SUCCEEDED if succeeded else How.FAILED
