"""Every file of the reviewed packages against the digests of its record. Reads hundreds of megabytes: a child's work.

Imports no Django, so that the child starts quickly; changes nothing and repairs nothing.
"""

from opsconsole.shipped.dependency_review import installed
from opsconsole.shipped.dependency_review.contracts import Gathered, Verified


def verify(gathered: Gathered) -> Verified:
    """Whether what is installed is what was installed. Raises NotInstalled."""
    damage = []
    files = size = without = 0
    for one in gathered.reviewed:
        broken, count, read, has_digests = installed.damage(one.name, gathered.where)
        files, size = files + count, size + read
        without += not has_digests
        if broken is not None:
            damage.append(broken)
    return Verified(
        gathered=gathered, files=files, bytes_read=size, without_digests=without, damage=tuple(damage)
    )
