"""Reading pages as a test does: parsed, not searched for strings. No database."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Protocol


@dataclass(slots=True)
class Page:
    """The tags of a page, its text, and the fields of each form by the form's action."""

    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""
    forms: dict[str, dict[str, str]] = field(default_factory=dict)

    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.tags if "id" in attributes]

    def links(self) -> list[str]:
        return [attributes["href"] for tag, attributes in self.tags if tag == "a" and "href" in attributes]

    def classes(self) -> set[str]:
        return {name for _, attributes in self.tags for name in attributes.get("class", "").split()}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self.form: dict[str, str] | None = None
        self.open_field: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.page.tags.append((tag, given))
        if tag == "form":
            self.form = self.page.forms.setdefault(given.get("action", ""), {})
        if self.form is None or "name" not in given:
            return
        if tag == "input" and given.get("type") not in ("radio", "checkbox"):
            self.form[given["name"]] = given.get("value", "")
        elif tag == "textarea":
            self.form[given["name"]] = ""
            self.open_field = given["name"]
        elif tag == "select":
            self.form[given["name"]] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.form = None
        if tag == "textarea":
            self.open_field = None

    def handle_data(self, data: str) -> None:
        self.page.text += data
        if self.form is not None and self.open_field:
            self.form[self.open_field] += data.removeprefix("\n")


class Answer(Protocol):
    """A response of Django's test client."""

    @property
    def status_code(self) -> int: ...

    @property
    def content(self) -> bytes: ...

    def __getitem__(self, header: str) -> str: ...


def read(response: Answer, status: int = 200) -> Page:
    """The page of a response with that status."""
    assert response.status_code == status, (response.status_code, response.content[:2000])
    reader = _Reader()
    reader.feed(response.content.decode())
    reader.page.text = re.sub(r"\s+", " ", reader.page.text)
    return reader.page
