"""Files out of the folders that a workflow may read: plain names, real files, at most a megabyte. Parses nothing."""

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from runs.errors import DataError

SIZE_LIMIT = 1_000_000


def content_in(
    folder: str, file: str, *, allowed: Mapping[str, Path], refused: type[DataError], what: str
) -> bytes:
    """What stands in that file of that folder. `what` is what is never larger than the limit, such as "an invoice".

    Raises `refused` with the sentence that the operator reads.
    """
    if folder not in allowed:
        raise refused(f"The folder “{folder}” is not one this workflow may read.")
    if not file or file.startswith(".") or Path(file).name != file or "\\" in file or "\x00" in file:
        raise refused(f"{file!r:.80} is not the plain name of a file; folders and paths are not taken.")
    return content(allowed[folder] / file, refused=refused, what=what)


def content(path: Path, *, refused: type[DataError], what: str) -> bytes:
    """What stands in that file. Follows no link. Raises `refused`."""
    file = path.name
    try:
        # NONBLOCK: opening a named pipe would otherwise wait for a writer that never comes.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise refused(f"There is no file {file} in that folder.") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise refused(f"{file} is a link; only real files are read.") from None
        raise refused(f"{file} cannot be opened: {error.strerror}.") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise refused(f"{file} is not an ordinary file.")
        with open(descriptor, "rb", closefd=False) as opened:
            found = opened.read(SIZE_LIMIT + 1)
    finally:
        os.close(descriptor)
    if len(found) > SIZE_LIMIT:
        raise refused(f"{file} is larger than 1 MB; {what} is not.")
    return found
