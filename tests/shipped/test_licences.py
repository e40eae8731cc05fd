"""Licences: expressions as SPDX writes them, and what metadata and licence files leave open."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from opsconsole.shipped.dependency_review import books, expressions, installed
from opsconsole.shipped.dependency_review.contracts import (
    ALLOWED,
    AcceptLicence,
    Gathered,
    Reviewed,
    ReviewRequest,
    Verified,
)
from opsconsole.shipped.dependency_review.expressions import NotAnExpression, parse
from opsconsole.shipped.dependency_review.licences import Stated, licence
from opsconsole.shipped.dependency_review.reporting import compose
from tests import patience

from .packages import TEXTS, made


@pytest.mark.parametrize(
    ("text", "names", "holds"),
    [
        ("MIT", ("MIT",), True),
        ("mit", ("MIT",), True),
        ("MIT OR GPL-3.0-only", ("MIT",), True),
        ("MIT AND GPL-3.0-only", ("MIT",), False),
        ("MIT OR GPL-3.0-only AND LGPL-2.1-only", ("GPL-3.0-only",), False),
        ("(MIT OR GPL-3.0-only) AND BSD-3-Clause", ("MIT", "BSD-3-Clause"), True),
        ("(MIT OR GPL-3.0-only) AND BSD-3-Clause", ("GPL-3.0-only",), False),
        ("Apache-2.0 WITH LLVM-exception", ("Apache-2.0",), False),
        ("Apache-2.0 with LLVM-exception or MIT", ("MIT",), True),
    ],
)
def test_one_side_of_or_is_enough_and_every_side_of_and_is_needed(
    text: str, names: tuple[str, ...], holds: bool
) -> None:
    assert expressions.allowed(parse(text), names) is holds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MIT OR",
        "OR MIT",
        "(MIT",
        "MIT)",
        "MIT BSD-3-Clause",
        "MIT, Apache",
        "MIT/X11",
        "<b>MIT</b>",
        "(" * 30,
    ],
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(NotAnExpression):
        parse(text)


def test_brackets_are_kept_where_they_mean_something() -> None:
    assert parse("((MIT  or ISC)) and 0BSD").text == "(MIT OR ISC) AND 0BSD"
    assert parse("(MIT AND ISC) OR 0BSD").text == "MIT AND ISC OR 0BSD"


def _classifiers(*names: str) -> tuple[str, ...]:
    return tuple(f"License :: OSI Approved :: {name}" for name in names)


@pytest.mark.parametrize(
    ("stated", "expected", "source"),
    [
        (Stated(expression="MIT"), "MIT", "metadata"),
        (Stated(field="Apache License, Version 2.0"), "Apache-2.0", "metadata"),
        (Stated(field="MIT OR Apache-2.0"), "MIT OR Apache-2.0", "metadata"),
        (Stated(field="x" * 300 + TEXTS["mit"]), "MIT", "metadata"),
        (Stated(classifiers=_classifiers("MIT License")), "MIT", "metadata"),
        (Stated(field="BSD", texts=(TEXTS["bsd3"],)), "BSD-3-Clause", "file"),
        (Stated(field="BSD", texts=(TEXTS["bsd2"],)), "BSD-2-Clause", "file"),
        (
            Stated(classifiers=_classifiers("Apache Software License"), texts=(TEXTS["apache"],)),
            "Apache-2.0",
            "file",
        ),
        (Stated(expression="MIT AND PSF-2.0", texts=(TEXTS["mit"],)), "MIT AND PSF-2.0", "metadata"),
        (Stated(expression="ZPL-2.1", texts=(TEXTS["bsd3"],)), "ZPL-2.1", "metadata"),
    ],
)
def test_what_is_stated_and_not_contradicted_is_clear(stated: Stated, expected: str, source: str) -> None:
    found = licence(stated)
    assert (found.expression, found.source, found.doubts) == (expected, source, ())


@pytest.mark.parametrize(
    ("stated", "proposal", "doubt"),
    [
        (Stated(), None, "names no licence"),
        (Stated(texts=(TEXTS["mit"],)), "MIT", "names no licence"),
        (Stated(field="BSD"), None, "no licence file that could tell"),
        (Stated(field="Proprietary, ask us"), None, "says “Proprietary, ask us”"),
        (Stated(expression="MIT", texts=(TEXTS["apache"],)), "MIT", "its files read like Apache-2.0"),
        (
            Stated(classifiers=_classifiers("MIT License", "ISC License (ISCL)")),
            "MIT OR ISC",
            "how they belong",
        ),
        (
            Stated(
                classifiers=_classifiers("BSD License", "Apache Software License"),
                texts=(TEXTS["bsd3"] + TEXTS["apache"],),
            ),
            "Apache-2.0 OR BSD-3-Clause",
            "no more than Apache and BSD",
        ),
    ],
)
def test_what_is_not_stated_or_stated_twice_is_left_to_a_person(
    stated: Stated, proposal: str | None, doubt: str
) -> None:
    found = licence(stated)
    assert (found.expression, found.proposal) == (None, proposal)
    assert doubt in " ".join(found.doubts)


def test_facts_are_read_from_disk(tmp_path: Path) -> None:
    made(tmp_path, "one", licence="MIT", text="mit", requires=("two", "gone>=1", "extra; extra == 'x'"))
    made(tmp_path, "two", field="MIT")
    facts = installed.facts("one", [str(tmp_path)])
    sizes = [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file() and "two" not in str(path)]
    assert (facts.size_bytes, facts.files, facts.requires) == (sum(sizes), 4, 2)
    assert facts.problems == ("It requires gone, which is not installed.",)
    assert installed.facts("TWO", [str(tmp_path)]).problems == ("It brings no licence file.",)
    with pytest.raises(installed.NotInstalled):
        installed.facts("three", [str(tmp_path)])


def test_a_package_is_found_that_came_within_its_folders_time(tmp_path: Path) -> None:
    made(tmp_path, "one", licence="MIT")
    os.utime(tmp_path, ns=(0, 0))
    assert installed.facts("one", [str(tmp_path)]).version == "1.0"
    made(tmp_path, "one", version="2.0", licence="MIT")
    os.utime(tmp_path, ns=(0, 0))
    assert installed.facts("one", [str(tmp_path)]).version == "2.0"


class _Meeting:
    """A finder at which all meet who let every finder forget."""

    def __init__(self, many: int) -> None:
        self._all = threading.Barrier(many)

    def invalidate_caches(self) -> None:
        self._all.wait(patience.SECONDS)


def test_many_may_look_at_once_after_an_import_has_looked_where_nothing_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, "one", licence="MIT")
    monkeypatch.setitem(sys.path_importer_cache, str(tmp_path / "met"), _Meeting(6))
    monkeypatch.setitem(sys.path_importer_cache, str(tmp_path / "gone"), None)
    with ThreadPoolExecutor(6) as many:
        found = list(many.map(lambda _: installed.facts("one", [str(tmp_path)]).version, range(6)))
    assert found == ["1.0"] * 6


def test_a_licence_may_be_tried_while_another_review_looks_what_was_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(books, "_rehearsed_licences", {})
    one = AcceptLicence(name="one", version="1.0", licence="MIT", because="Its file says so.")
    other = one.model_copy(update={"name": "other"})
    books.rehearse_licence(one)

    class Reviewing(str):
        """The name of a package, while another review tries a licence."""

        __hash__ = str.__hash__

        def __eq__(self, name: object) -> bool:
            books.rehearse_licence(other)
            return str.__eq__(self, str(name))

    assert not books.rehearsed(Reviewing("two"), "1.0", "MIT")
    assert books.rehearsed(Reviewing("other"), "1.0", "MIT")


def test_changed_and_missing_files_are_named(tmp_path: Path) -> None:
    made(tmp_path, "one", licence="MIT", text="mit")
    assert installed.damage("one", [str(tmp_path)])[0] is None
    (tmp_path / "one" / "__init__.py").write_text("answer = 43\n")
    (tmp_path / "one-1.0.dist-info" / "LICENSE").unlink()
    found, *_ = installed.damage("one", [str(tmp_path)])
    assert found is not None
    assert (found.changed, found.gone) == (("one/__init__.py",), ("one-1.0.dist-info/LICENSE",))


def test_every_package_of_this_environment_can_be_read() -> None:
    where = installed.folders()
    names = [name for name, _ in installed.packages(where)]
    assert "Django" in names
    assert len(names) == len({installed.normal(name) for name in names})
    facts = installed.facts("django", where)
    assert (facts.licence.expression, facts.size_bytes > 1_000_000) == ("BSD-3-Clause", True)


def test_words_of_packages_are_no_markup_in_the_report() -> None:
    one = Reviewed(
        name="x",
        version="1",
        licence=None,
        source="none",
        verdict="refused",
        size_bytes=1,
        files=1,
        requires=0,
        problems=("<script>alert(1)</script> | [a](http://b)",),
        note="# no\n| heading",
    )
    gathered = Gathered(request=ReviewRequest(), where=("/site",), reviewed=(one,))
    text = compose(Verified(gathered=gathered, files=0, bytes_read=0, without_digests=0)).text
    assert "<script>" not in text
    assert "\\<script\\>" in text
    assert "refused – \\# no \\| heading" in text


def test_the_allowed_licences_are_expressions_of_one_name() -> None:
    assert [name for name in ALLOWED if parse(name).names() != {name}] == []
