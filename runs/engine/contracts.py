"""Whether a value may be a step's output: its node's contract, and for a plan the pattern's bounds. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from runs import bodies, routing
from runs.canonical import SPARE, canonical, told
from runs.definitions import Plan, Supervised, Workflow
from runs.engine import bounds
from runs.engine.found import Found, because, tell
from runs.engine.outcomes import Output
from runs.engine.record import now
from runs.errors import ContractBroken, broken
from runs.guards.findings import Guard
from runs.limits.kinds import LimitKind
from runs.limits.rows import Row
from runs.models import Step

if TYPE_CHECKING:
    from runs.engine.claimed import Claimed  # which knows how runs end, and runs that end tell of themselves


class PlanTooLarge(ContractBroken):
    """A plan does not keep to the bounds of its definition, or to the limits that people have set beside it; `found`
    says to which."""

    def __init__(self, error: ContractBroken, found: Found) -> None:
        super().__init__(found.says.removesuffix("."), where=error.where)
        self.found = found


def checked(workflow: Workflow, step: Step, value: Any, *, by_person: bool = False) -> BaseModel:
    """The value as the contract of the step's node, fit to be stored.

    Raises ContractBroken. A person's value has no spare levels to keep: it has been shown as it is.
    """
    return _checked(workflow, step, value, 0 if by_person else SPARE)[0]


def _checked(workflow: Workflow, step: Step, value: Any, spare: int) -> tuple[BaseModel, str]:
    output, text = _kept(workflow.node(step.node).gives, value, "output", spare)
    check_bounds(workflow, step, output)
    return output, text


def check_bounds(workflow: Workflow, step: Step, output: BaseModel) -> None:
    """Whether a plan keeps to the bounds of its pattern, whoever made it. Raises ContractBroken."""
    if not isinstance(output, Plan) or not isinstance(workflow.pattern, Supervised):
        return
    depth = depth_of(step)
    _hold(workflow, workflow.pattern, output, depth)
    bound, rows = bounds.of_plans(step.run, workflow, workflow.pattern, now())
    if rows:
        _hold(workflow, bound, output, depth, rows)


def _hold(
    workflow: Workflow, pattern: Supervised, plan: Plan, depth: int, rows: tuple[Row, ...] = ()
) -> None:
    """Raise PlanTooLarge for a plan that is wider or deeper, ContractBroken for one that is otherwise wrong."""
    try:
        routing.check_plan(pattern, plan, depth)
    except (routing.TooWide, routing.TooDeep) as error:
        wide = isinstance(error, routing.TooWide)
        kind = LimitKind.FAN_OUT_WIDTH if wide else LimitKind.FAN_OUT_DEPTH
        row = next((one for one in rows if one.kind is kind), None)
        found = Found(
            guard=kind.value,
            scope=row.scope_words if row else f"workflow {workflow.name}",
            says=f"{error.message}: {because(row)}." if row else f"{error.message}.",
            row=row,
            cap=pattern.most_tasks if wide else pattern.depth,
            value=len(plan.tasks) if wide else depth + 1,
        )
        raise PlanTooLarge(error, found) from error


def accepted(claimed: Claimed, value: Any) -> BaseModel:
    """The value as the output of a claimed attempt: it meets the contract, and the node's `accept` takes it.

    Raises ContractBroken, and the step error that `accept` raised.
    """
    return output_of(claimed, value).value


def output_of(claimed: Claimed, value: Any) -> Output:
    """The same as an outcome. Raises what `accepted` raises."""
    with telling(claimed, f"node {claimed.step.node}"):
        output, text = _checked(claimed.workflow, claimed.step, value, SPARE)
    if claimed.node.accept is None:
        return Output(value=output, text=text)
    check_accept(claimed.workflow, claimed.step, output)
    return Output(value=output)  # the node's own check may have changed it


@contextmanager
def telling(claimed: Claimed, scope: str) -> Iterator[None]:
    """What breaks a contract or a bound of plans in here is an event of the run; raised all the same."""
    try:
        yield
    except PlanTooLarge as error:
        tell(claimed, error.found)
        raise
    except ContractBroken as error:
        says = f"What {scope} gave breaks its contract: {error.message}"
        tell(claimed, Found(guard=Guard.SCHEMA, scope=scope, says=says, about=str(claimed.attempt.number)))
        raise


def check_accept(workflow: Workflow, step: Step, output: BaseModel) -> None:
    """Whether the node's own check takes an output that meets its contract. Raises whatever `accept` raises."""
    node = workflow.node(step.node)
    if node.accept is not None:
        given = node.takes.model_validate_json(canonical(bodies.load(step.input)))
        node.accept(given, output)


def as_contract(
    contract: type[BaseModel], value: Any, *, what: str = "output", spare: int = SPARE
) -> BaseModel:
    """A value from outside as a contract, which can also be stored. Raises ContractBroken."""
    return _kept(contract, value, what, spare)[0]


def _kept(contract: type[BaseModel], value: Any, what: str, spare: int) -> tuple[BaseModel, str]:
    """The same, with its canonical JSON."""
    try:
        output = contract.model_validate_json(canonical(value, spare=spare))
        text = canonical(output)  # a contract may make of a text a number that JSON has not
    except ValidationError as error:
        raise broken(error, what) from error
    except (ValueError, RecursionError) as error:
        raise ContractBroken(f"the {what} cannot be kept as JSON: {told(error)}") from error
    return output, text


def depth_of(step: Step) -> int:
    """1 for the supervisor's own plan, 2 for a plan made by one of its tasks."""
    depth, one = 1, step
    while one.parent is not None:
        depth, one = depth + 1, one.parent
    return depth
