"""A person's edit of a proposed action or a broken output: checked against the same contract as the agent's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from runs import registry
from runs.canonical import SPARE, canonical, plain, told
from runs.claims import Claims
from runs.definitions import Tool
from runs.engine import contracts, verifying
from runs.errors import StepError, wrong_values
from runs.models import Question, QuestionKind


class Broken(Exception):
    """The edit does not meet the contract; `errors` has (path, message) for each wrong value."""

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path or 'value'}: {message}" for path, message in errors))
        self.errors = errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of an edit form, or of a start form. `kind`: text, number, choice, json, yes."""

    name: str
    label: str
    kind: str
    value: str
    required: bool
    choices: tuple[str, ...] = ()
    help: str = ""


def check(question: Question, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The edited action, canonical, ready to be approved. Raises Broken; LookupError when nothing can be edited."""
    contract, tool = _contract(question)
    checked = parse(contract, raw)
    if tool is not None:
        return {"tool": tool.name, "arguments": plain(checked), "sentence": plain(tool.sentence(checked))}
    _check_like_an_agents(question, checked)
    return {**question.action, "value": plain(checked), **_still_open(question, checked)}


def _still_open(question: Question, checked: BaseModel) -> dict[str, Any]:
    """The claims of an edit that do not stand, for a question about claims.

    Raises Broken for any other value of a verify step with such claims: nobody would be asked about them.
    """
    workflow = registry.workflow(question.run.workflow, question.run.version)
    step = question.step
    if workflow is None or step is None or not isinstance(checked, Claims):
        return {}
    node = workflow.node(step.node)
    if node.verifies is None:
        return {}
    doubts = verifying.doubted(step, node, checked, question.action.get(verifying.OPEN, ()))
    if question.kind == QuestionKind.CLAIMS:
        return {verifying.OPEN: doubts}
    if doubts:
        first = doubts[0]
        raise Broken(
            [("claims", f"Claim {first['number'] + 1} does not stand: its evidence does not show it.")]
        )
    return {}


def _check_like_an_agents(question: Question, checked: BaseModel) -> None:
    """A person's output keeps to the same bounds and checks as an agent's, except that one may be taken as it is:
    then a person has seen what the check said of it."""
    workflow = registry.workflow(question.run.workflow, question.run.version)
    if workflow is None or question.step is None:
        return
    try:
        contracts.check_bounds(workflow, question.step, checked)
        if not _as_it_was(question, checked):
            contracts.check_accept(workflow, question.step, checked)
    except StepError as error:
        raise Broken([(error.where, error.message)]) from error
    except Exception as error:
        raise Broken([("", f"The workflow's own check of this value failed: {told(error)}")]) from error


def _as_it_was(question: Question, checked: BaseModel) -> bool:
    """Whether a person left the refused value as it was, what has a default filled in."""
    try:
        before = type(checked).model_validate_json(canonical(question.action.get("value")))
    except ValidationError:
        return False
    return bool(plain(before) == plain(checked))


def parse(contract: type[BaseModel], raw: Mapping[str, Any]) -> BaseModel:
    """Form values (texts) as a contract. Raises Broken with every wrong value."""
    schema = contract.model_json_schema()
    values = {
        name: _value(_resolved(schema, spec), raw[name]) for name, spec in _properties(schema) if name in raw
    }
    unknown = {name: value for name, value in raw.items() if name not in values}
    try:
        return contract.model_validate_json(canonical({**values, **unknown}, spare=SPARE))
    except ValidationError as error:
        raise Broken(wrong_values(error)) from error
    except ValueError as error:
        raise Broken([("", str(error))]) from error


def fields(question: Question) -> list[Field]:
    """The edit form of a question, filled with what would happen. Raises LookupError when nothing can be edited."""
    contract, tool = _contract(question)
    present = question.action["arguments"] if tool is not None else question.action["value"]
    return form_fields(contract, present if isinstance(present, Mapping) else {})


def form_fields(contract: type[BaseModel], present: Mapping[str, Any]) -> list[Field]:
    """A form from a contract, filled with present values."""
    schema = contract.model_json_schema()
    required = set(schema.get("required", ()))
    return [
        _field(schema, name, spec, present.get(name), name in required) for name, spec in _properties(schema)
    ]


def _contract(question: Question) -> tuple[type[BaseModel], Tool | None]:
    run = question.run
    workflow = registry.workflow(run.workflow, run.version)
    if workflow is None or question.step is None:
        raise LookupError(
            f"{run.workflow} v{run.version} is not installed: its contracts are not known here."
        )
    node = workflow.node(question.step.node)
    if question.kind in (QuestionKind.CONTRACT, QuestionKind.CLAIMS):
        return node.gives, None
    if question.kind == QuestionKind.APPROVAL:
        for tool in (tool for agent in node.agents for tool in agent.tools):
            if tool.name == question.tool:
                return tool.arguments, tool
    raise LookupError(f"A question of kind {question.kind} has nothing to edit.")


def _properties(schema: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return list(schema.get("properties", {}).items())


def _resolved(schema: Mapping[str, Any], spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow one reference, and take the first concrete choice of an optional value."""
    if "$ref" in spec:
        found: Mapping[str, Any] = schema["$defs"][spec["$ref"].rpartition("/")[2]]
        return {**found, **{key: value for key, value in spec.items() if key != "$ref"}}
    for option in spec.get("anyOf", ()):
        if option.get("type") != "null":
            return {**spec, **_resolved(schema, option), "optional": _nullable(spec)}
    return spec


def _nullable(spec: Mapping[str, Any]) -> bool:
    return any(option.get("type") == "null" for option in spec.get("anyOf", ()))


def _kind(spec: Mapping[str, Any]) -> str:
    if "enum" in spec or "const" in spec:
        return "choice"
    return {"string": "text", "integer": "number", "number": "number", "boolean": "yes"}.get(
        str(spec.get("type")), "json"
    )


def _field(
    schema: Mapping[str, Any], name: str, spec: Mapping[str, Any], present: Any, required: bool
) -> Field:
    concrete = _resolved(schema, spec)
    kind = _kind(concrete)
    value = spec.get("default") if present is None else present
    return Field(
        name=name,
        label=_label(name, spec),
        kind=kind,
        value=_shown(value, kind),
        required=required,
        choices=tuple(str(one) for one in concrete.get("enum", ())),
        help=str(spec.get("description", concrete.get("description", ""))),
    )


def _label(name: str, spec: Mapping[str, Any]) -> str:
    """The title that the contract states; without one the name as words."""
    words = name.replace("_", " ")
    title = str(spec.get("title", ""))
    return words if title.lower() in ("", words.lower()) else title


def _shown(value: Any, kind: str) -> str:
    if value is None:
        return ""
    if kind == "json" or not isinstance(value, (str, int, float, bool)):
        return json.dumps(value, indent=1, ensure_ascii=False)
    return str(value)


def _value(spec: Mapping[str, Any], text: Any) -> Any:
    """A form's text as the JSON value the contract expects; what cannot be read stays text and is refused there."""
    if not isinstance(text, str):
        return text
    if not text.strip() and spec.get("optional"):
        return None
    if _kind(spec) in ("text", "choice"):
        return text if "\n" in text else text.strip()  # a space at the end is nobody's intention
    try:
        return json.loads(text.strip().lower() if _kind(spec) == "yes" else text)
    except (ValueError, RecursionError):
        return text
