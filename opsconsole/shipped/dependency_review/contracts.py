"""The contracts on every edge of the dependency review. No behaviour beyond validation; no file, no database."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from opsconsole.shipped.dependency_review.expressions import NotAnExpression, parse

ALLOWED = (
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CNRI-Python",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "PSF-2.0",
    "Python-2.0",
    "TCL",
    "Unlicense",
    "ZPL-2.1",
)

Source = Literal["metadata", "file", "person", "none"]
Verdict = Literal["allowed", "not_allowed", "refused", "unclear"]


class Contract(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _expression(value: str) -> str:
    try:
        return parse(value).text
    except NotAnExpression as wrong:
        raise ValueError(str(wrong)) from None


Name = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")
]
Version = Annotated[str, Field(min_length=1, max_length=100)]
Expression = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_expression)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]{0,59}$")]
Words = Annotated[str, Field(max_length=500)]
Count = Annotated[int, Field(strict=True, ge=0)]


class ReviewRequest(Contract):
    """What a run starts from; the start form is made from this."""

    name_starts: Annotated[str, Field(max_length=60, pattern=r"^[A-Za-z0-9._-]*$")] = Field(
        default="", title="Names that begin with", description="Empty: every package that is installed here"
    )
    allowed: Annotated[tuple[Identifier, ...], Field(min_length=1, max_length=100)] = Field(
        default=ALLOWED, title="Allowed licences", description="SPDX identifiers, as a JSON list"
    )
    quorum_percent: Annotated[int, Field(strict=True, ge=50, le=100)] = Field(
        default=90, title="Quorum in per cent", description="So many of the packages must have been reviewed"
    )


class PackageTask(Contract):
    """One task of the plan: one package."""

    name: Name
    version: Version
    allowed: tuple[Identifier, ...]


class Licence(Contract):
    """What a package's metadata and licence files say. `expression` is None where they leave it open.

    `proposal` is the best guess then, and `doubts` say why it is only one.
    """

    expression: Expression | None = None
    source: Source = "none"
    proposal: Expression | None = None
    doubts: tuple[Words, ...] = ()


class Facts(Contract):
    """What is installed, read from its files. `size_bytes` counts every file that is recorded and there."""

    name: Name
    version: Version
    licence: Licence
    said: tuple[tuple[str, str], ...] = ()
    size_bytes: Count
    files: Count
    requires: Count
    problems: tuple[Words, ...] = ()


class Reviewed(Contract):
    """One package reviewed. `licence` is None when nobody could say or a person refused."""

    name: Name
    version: Version
    licence: Expression | None = None
    source: Source
    verdict: Verdict
    size_bytes: Count
    files: Count
    requires: Count
    problems: tuple[Words, ...] = ()
    note: Words = ""


class PackageName(Contract):
    """The arguments of `package.read`."""

    name: Name = Field(title="Package")


class AcceptLicence(Contract):
    """The arguments of `licence.accept`: what counts as the licence of this version from now on."""

    name: Name = Field(title="Package")
    version: Version = Field(title="Version")
    licence: Expression = Field(title="Licence", description="An SPDX expression, for example BSD-3-Clause")
    because: Words = Field(default="", title="Because")


class NotReviewed(Contract):
    name: str
    version: str
    why: str


class Gathered(Contract):
    """What the tasks came to. `where` are the folders that were read."""

    request: ReviewRequest
    where: tuple[str, ...]
    reviewed: tuple[Reviewed, ...]
    missing: tuple[NotReviewed, ...] = ()


class Damage(Contract):
    """A package whose files are not the ones that were installed."""

    name: str
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


class Verified(Contract):
    gathered: Gathered
    files: Count
    bytes_read: Count
    without_digests: Count
    damage: tuple[Damage, ...] = ()


class Totals(Contract):
    packages: Count
    reviewed: Count
    allowed: Count
    not_allowed: Count
    open: Count
    with_problems: Count
    damaged: Count
    size_bytes: Count


class Composed(Contract):
    totals: Totals
    text: Annotated[str, Field(min_length=1, max_length=1_000_000)]


class WriteReport(Contract):
    """The arguments of `report.write`."""

    text: Annotated[str, Field(min_length=1, max_length=1_000_000)] = Field(
        title="Text", description="Markdown"
    )


class Reported(Contract):
    """The run's output: the file in the console's folder “reports”, and its totals."""

    file: Annotated[str, Field(pattern=r"^dependency-review-[0-9a-f]{12}\.md$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    totals: Totals
