"""A watched folder on disk: which files are complete, reading one, moving it to done/ or refused/. No database.

Everything happens relative to opened folders, and no link is followed inside them, so that whoever may write into
the folder cannot lead us to files elsewhere. Nothing is ever deleted or written over. A file counts as complete when
nothing has changed it for SETTLE_SECONDS: the time of change that the file system keeps is looked at, which writing,
renaming and setting other times all renew, and which nobody can set.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from runs.text import hidden_names

SETTLE_SECONDS = 2.0
LONGEST_NAME = 200  # bytes; room is left for a number and .why.txt
DONE, REFUSED = "done", "refused"


class Said(Exception):
    """`sentence` says what is wrong and what to do."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class Unusable(Said):
    """The folder itself cannot be watched."""


class Wrong(Said):
    """This file will never be taken."""


class Later(Said):
    """This file cannot be taken now; it stays where it is and is tried again."""


class Gone(Exception):
    """Somebody else has taken the file, or it was taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file as it was seen: enough to tell whether it is still the same."""

    file: str
    mode: int
    inode: int
    size: int
    written_ns: int
    changed_ns: int

    @classmethod
    def of(cls, file: str, seen: os.stat_result) -> Found:
        return cls(
            file=file,
            mode=seen.st_mode,
            inode=seen.st_ino,
            size=seen.st_size,
            written_ns=seen.st_mtime_ns,
            changed_ns=seen.st_ctime_ns,
        )

    def complete(self, now: float) -> bool:
        """Whether nothing has changed it for a while."""
        return now - self.changed_ns / 1e9 >= SETTLE_SECONDS

    def is_still(self, seen: os.stat_result, *, moved: bool = False) -> bool:
        """Whether this is the same file with the same content; moving renews the time of change."""
        same = (self.inode, self.size, self.written_ns) == (seen.st_ino, seen.st_size, seen.st_mtime_ns)
        return same and (moved or self.changed_ns == seen.st_ctime_ns)


class Place:
    """The folder, opened together with its done/ and refused/. Raises Unusable."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: list[int] = []
        try:
            self._folder = self._opened(path)
            self._beside = {name: self._made(name) for name in (DONE, REFUSED)}
        except OSError as why:
            self.close()
            raise Unusable(_unusable(path, why)) from why

    def __enter__(self) -> Place:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        while self._open:
            os.close(self._open.pop())

    def _opened(self, path: Path | str, folder: int | None = None) -> int:
        inside = os.O_NOFOLLOW if folder is not None else 0
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | inside, dir_fd=folder)
        self._open.append(fd)
        return fd

    def _made(self, name: str) -> int:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=self._folder)
        return self._opened(name, self._folder)

    def waiting(self, pattern: str) -> list[Found]:
        """What has a name like one of `pattern`, but does not begin with a dot; what came first is first."""
        patterns = pattern.lower().split()
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name in (DONE, REFUSED):
                    continue
                if not any(fnmatch.fnmatchcase(entry.name.lower(), one) for one in patterns):
                    continue
                with contextlib.suppress(FileNotFoundError):  # it is being taken away
                    found.append(Found.of(entry.name, entry.stat(follow_symlinks=False)))
        return sorted(found, key=lambda one: (one.changed_ns, one.file))

    def read(self, found: Found, *, most: int, now: float) -> bytes:
        """The content of a complete file. Raises Wrong, Later, Gone."""
        if not found.complete(now):
            raise Later(_incomplete(found, now))
        _must_be_takeable(found, most)
        try:
            fd = os.open(
                found.file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._folder
            )
        except FileNotFoundError as why:
            raise Gone from why
        except OSError as why:
            raise Later(f"{found.file} cannot be opened: {why.strerror}.") from why
        with open(fd, "rb") as opened:
            try:
                content = opened.read(most + 1)
            except OSError as why:
                raise Later(f"{found.file} cannot be read: {why.strerror}.") from why
            if not found.is_still(os.fstat(fd)):
                raise Later(f"{found.file} is being changed.")
        return content

    def unchanged(self, found: Found) -> bool:
        """Whether the file is still there, and still as it was found."""
        try:
            return found.is_still(os.stat(found.file, dir_fd=self._folder, follow_symlinks=False))
        except FileNotFoundError:
            return False

    def done(self, found: Found) -> None:
        """Move it to done/. Raises Later when that cannot be."""
        self._move(found, DONE, why="")

    def refuse(self, found: Found, why: str) -> None:
        """Move it to refused/, with FILE.why.txt beside it. Raises Later when that cannot be."""
        self._move(found, REFUSED, why=why)

    def _move(self, found: Found, name: str, *, why: str) -> None:
        target = self._beside[name]
        try:
            new = _reserved(found.file, target)
            if why:
                _written(f"{new}.why.txt", why, target)
            self._moved(found, new, target)
        except OSError as error:
            raise Later(f"{_shown(found.file)} cannot be moved to {name}/: {error.strerror}.") from error

    def _moved(self, found: Found, new: str, target: int) -> None:
        try:
            os.rename(found.file, new, src_dir_fd=self._folder, dst_dir_fd=target)
        except OSError as error:  # another process was quicker, or it cannot be
            for name in (new, f"{new}.why.txt"):
                _without(name, target)
            if isinstance(error, FileNotFoundError):
                return
            raise
        if not found.is_still(os.stat(new, dir_fd=target, follow_symlinks=False), moved=True):
            self._put_back(found.file, new, target)

    def _put_back(self, file: str, new: str, target: int) -> None:
        """Another file had just taken that name: it has not been looked at. A still newer one there goes before it."""
        _without(f"{new}.why.txt", target)
        try:
            os.close(os.open(file, _NEW, 0o600, dir_fd=self._folder))
        except FileExistsError:
            return
        os.rename(new, file, src_dir_fd=target, dst_dir_fd=self._folder)


_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def _must_be_takeable(found: Found, most: int) -> None:
    """Raise Wrong for what is no ordinary file of a sane name and size, Later for a folder."""
    if stat.S_ISDIR(found.mode):
        raise Later(
            f"{_shown(found.file)} is a folder; only files that lie in the watched folder itself are taken."
        )
    if (
        not found.file.isprintable()
        or hidden_names(found.file)
        or len(os.fsencode(found.file)) > LONGEST_NAME
    ):
        raise Wrong(
            f"The file's name holds what cannot be read, or is longer than {LONGEST_NAME} bytes: give it another."
        )
    if stat.S_ISLNK(found.mode):
        raise Wrong(f"{found.file} is a link; only real files are taken.")
    if not stat.S_ISREG(found.mode):
        raise Wrong(f"{found.file} is not an ordinary file.")
    if found.size > most:
        raise Wrong(f"{found.file} has {found.size} bytes; at most {most} are taken.")


def _incomplete(found: Found, now: float) -> str:
    file = _shown(found.file)
    if found.changed_ns / 1e9 < now + 60:
        return f"{file} is not complete yet."
    return f"{file} was changed in the future: set the clock of this machine, or of the one that keeps the folder."


def _unusable(path: Path, why: OSError) -> str:
    if isinstance(why, FileNotFoundError):
        return f"The folder {path} is not there: make it, or correct WATCHED_FOLDERS."
    if why.errno in (errno.ENOTDIR, errno.ELOOP):
        return f"{path}, or its {DONE}/ or {REFUSED}/, is no folder (a link does not count there)."
    return (
        f"The folder {path} cannot be used: {why.strerror}. The console must be able to read and to write it."
    )


def _shown(file: str) -> str:
    return os.fsencode(file).decode(errors="replace")


def _names(file: str) -> Iterator[str]:
    """The file's name, then the same with a number before its ending; cut where it is too long."""
    stem, ending = os.path.splitext(file)
    if len(os.fsencode(file)) > LONGEST_NAME:
        stem = os.fsdecode(os.fsencode(stem)[: LONGEST_NAME // 2])
        ending = os.fsdecode(os.fsencode(ending)[:20])
    yield stem + ending
    for number in range(2, 100_000):
        yield f"{stem}.{number}{ending}"


def _reserved(file: str, target: int) -> str:
    """A name nobody has in that folder, ours from now on."""
    for name in _names(file):
        try:
            os.close(os.open(name, _NEW, 0o600, dir_fd=target))
        except FileExistsError:
            continue
        return name
    raise OSError(errno.EEXIST, "there are too many of that name")


def _written(name: str, text: str, target: int) -> None:
    fd = os.open(
        name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=target
    )
    with open(fd, "w", encoding="utf-8", errors="replace") as opened:
        opened.write(f"{text}\n")


def _without(name: str, target: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=target)
