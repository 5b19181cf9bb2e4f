"""What the templates in `infra` come to for given parameters: every resource, with its values, as Azure would get it.

What only Azure knows (the id of a principal, the name of a host) is invented, the same each time. Whatever Bicep
refuses and this meets is refused too: names that nobody declared, parameters that a module lacks or does not know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .bicep import read
from .functions import FUNCTIONS, SUBSCRIPTION, calculated, invented
from .syntax import Call, Dot, For, Given, Index, List, Name, Operator, Record, Statement, Text, Wrong

INFRA = Path(__file__).parents[2] / "infra"
PREVIEWS = {"Microsoft.StreamAnalytics/streamingjobs@2021-10-01-preview"}  # no other writes a file once
OF_TYPES: Mapping[type, str] = {str: "string", bool: "bool", int: "int", dict: "object", list: "array"}


@dataclass(frozen=True)
class Resource:
    """One that is deployed, or that exists. *scope*: the id of what it lies in, or extends."""

    type: str
    version: str
    name: str
    scope: str
    body: Mapping[str, Any]
    place: str  # the file and the symbolic name
    existing: bool = False
    nested: Mapping[str, Resource] = field(default_factory=dict)

    @property
    def id(self) -> str:
        if self.type == "Microsoft.Resources/resourceGroups":
            return f"{SUBSCRIPTION}/resourceGroups/{self.name}"
        last = self.type.rpartition("/")[2]
        if self.type.count("/") > 1:
            return f"{self.scope}/{last}/{self.name}"
        return f"{self.scope}/providers/{self.type}/{self.name}"


@dataclass(frozen=True)
class Told:
    """A property of a resource that Azure makes up, or one inside of it."""

    resource: Resource


def names_in(value: Any) -> Iterator[str]:
    """Every name that an expression asks for, whether or not its turn comes."""
    if isinstance(value, Name):
        yield value.name
    elif isinstance(value, tuple):
        for each in value:
            yield from names_in(each)
    elif is_dataclass(value):
        for part in fields(value):
            yield from names_in(getattr(value, part.name))


class Template:
    """A file, with values for its parameters. Raises Wrong."""

    def __init__(self, path: Path, parameters: Mapping[str, Any], scope: str = SUBSCRIPTION) -> None:
        self.path = path
        self.scope = scope
        statements = read(path.read_text())
        self.statements = {f"{each.kind} {each.name}": each for each in statements}
        if len(self.statements) != len(statements):
            raise Wrong(f"{path.name}: a name is declared twice")
        self.deployed: list[Resource] = []
        self._values: dict[str, Any] = {}
        self._given = dict(parameters)
        declared = {each.name for each in self.of_kind("param")}
        if unknown := set(parameters) - declared:
            raise Wrong(f"{path.name} has no parameter {sorted(unknown)}")
        symbols = [each.name for each in self.statements.values() if each.kind not in {"output", "targetScope"}]
        if len({*symbols}) < len(symbols):
            raise Wrong(f"{path.name}: two things share a name")

    def of_kind(self, *kinds: str) -> list[Statement]:
        return [each for each in self.statements.values() if each.kind in kinds]

    @cached_property
    def outputs(self) -> Mapping[str, Any]:
        found = {}
        for each in self.of_kind("output"):
            found[each.name] = self._of_type(each, self.value(each.value, {}))
        return found

    def deploy(self) -> list[Resource]:
        """Every resource, those of modules too; all values are looked at, whether they are used or not."""
        for each in self.of_kind("param", "var", "resource", "module"):
            self._named(each.name, {})
        self.outputs  # noqa: B018
        asked = {name for each in self.statements.values() for name in names_in(each.value)}
        if unused := [f"{each.kind} {each.name}" for each in self.of_kind("param", "var") if each.name not in asked]:
            raise Wrong(f"{self.path.name}: nobody uses {unused}")
        return self.deployed

    # Names

    def _named(self, name: str, local: Mapping[str, Any]) -> Any:
        if name in local:
            return local[name]
        if name in self._values:
            return self._values[name]
        for kind in ("param", "var", "resource", "module"):
            if statement := self.statements.get(f"{kind} {name}"):
                made = {"param": self._parameter, "var": self._variable, "resource": self._top, "module": self._module}
                self._values[name] = value = made[kind](statement)
                return value
        raise Wrong(f"{self.path.name}: nobody declared {name}")

    def _parameter(self, statement: Statement) -> Any:
        name = statement.name
        if name not in self._given and statement.value is None:
            raise Wrong(f"{self.path.name}: parameter {name} is expected")
        value = self._given[name] if name in self._given else self.value(statement.value, {})
        rules = {rule: self.value(given[0], {}) for rule, given in statement.decorators.items() if given}
        size = value if isinstance(value, int) else len(value)
        if "allowed" in rules and value not in rules["allowed"]:
            raise Wrong(f"{self.path.name}: {name} is one of {rules['allowed']}, not {value!r}")
        for rule in ("minValue", "minLength"):
            if rule in rules and size < rules[rule]:
                raise Wrong(f"{self.path.name}: {name} is {rules[rule]} at least, not {value!r}")
        for rule in ("maxValue", "maxLength"):
            if rule in rules and size > rules[rule]:
                raise Wrong(f"{self.path.name}: {name} is {rules[rule]} at most, not {value!r}")
        return self._of_type(statement, value)

    def _of_type(self, statement: Statement, value: Any) -> Any:
        if OF_TYPES.get(type(value)) != statement.type:
            raise Wrong(f"{self.path.name}: {statement.name} wants {statement.type}, not {value!r}")
        return value

    def _variable(self, statement: Statement) -> Any:
        return self.value(statement.value, {})

    # Resources and modules

    def _top(self, statement: Statement) -> Any:
        return self._each(statement.value, lambda body, local: self._resource(statement, body, local, None))

    def _each(self, value: Any, make: Callable[[Record, Mapping[str, Any]], Any]) -> Any:
        """What is made of a body, of one that is given only if (None, if not), or of a loop over them."""
        if isinstance(value, Record):
            return make(value, {})
        if isinstance(value, Given):
            return make(value.body, {}) if self._true(value.condition, {}) else None
        if isinstance(value, For):
            return [make(value.body, {value.item: item}) for item in self.value(value.of, {})]
        raise Wrong(f"{self.path.name}: no resource: {value}")

    def _resource(self, statement: Statement, body: Record, local: Mapping[str, Any], around: Resource | None) -> Any:
        type_, _, version = statement.type.partition("@")
        written = {str(name): value for name, value in body.fields}
        place = f"{self.path.name} {statement.name}"
        parent = around or (self.value(written["parent"], local) if "parent" in written else None)
        if around:
            type_, version = f"{around.type}/{type_}", version or around.version
        elif parent and type_.rpartition("/")[0] != parent.type:
            raise Wrong(f"{place}: {type_} does not lie in {parent.type}")
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", version) and statement.type not in PREVIEWS:
            raise Wrong(f"{place}: expected a version that is no preview, got {version!r}")
        scope = self.value(written["scope"], local).id if "scope" in written else parent.id if parent else self.scope
        for name in self.value(written["dependsOn"], local) if "dependsOn" in written else []:
            assert name is None or isinstance(name, Resource | Template | list)
        own = {name: value for name, value in written.items() if name not in {"parent", "scope", "dependsOn"}}
        values = {name: self.value(value, local) for name, value in own.items()}
        made = Resource(type_, version, values["name"], scope, values, place, statement.existing, nested={})
        nested = {
            inner.name: self._each(inner.value, lambda b, _, inner=inner: self._resource(inner, b, local, made))
            for inner in body.resources
        }
        made = Resource(type_, version, values["name"], scope, values, place, statement.existing, nested)
        if not statement.existing:
            self.deployed.append(made)
        return made

    def _module(self, statement: Statement) -> Any:
        def make(body: Record, local: Mapping[str, Any]) -> Template:
            values = {str(name): self.value(value, local) for name, value in body.fields}
            if extra := set(values) - {"name", "scope", "params"}:
                raise Wrong(f"{self.path.name} {statement.name}: {sorted(extra)}")
            given = values.get("params", {})
            module = Template(self.path.parent / statement.type, given, values["scope"].id)
            self.deployed += module.deploy()
            return module

        return self._each(statement.value, make)

    # Expressions

    def _true(self, value: Any, local: Mapping[str, Any]) -> bool:
        found = self.value(value, local)
        if not isinstance(found, bool):
            raise Wrong(f"{self.path.name}: expected true or false, got {found!r}")
        return found

    def value(self, value: Any, local: Mapping[str, Any]) -> Any:  # noqa: C901, PLR0911, PLR0912  # one case a kind
        match value:
            case None | bool() | int() | str():
                return value
            case Text(parts):
                return "".join(str(self.value(part, local)) for part in parts)
            case Name(name):
                return self._named(name, local)
            case List(items):
                return [self.value(item, local) for item in items]
            case For(item, of, body):
                return [self.value(body, {**local, item: each}) for each in self.value(of, local)]
            case Record(entries, resources):
                assert not resources
                return {str(self.value(name, local)): self.value(each, local) for name, each in entries}
            case Operator("?", (condition, then, otherwise)):
                return self.value(then if self._true(condition, local) else otherwise, local)
            case Operator("&&", (left, right)):
                return self._true(left, local) and self._true(right, local)
            case Operator("||", (left, right)):
                return self._true(left, local) or self._true(right, local)
            case Operator("!", (one,)):
                return not self._true(one, local)
            case Operator(sign, (left, right)):
                return calculated(sign, self.value(left, local), self.value(right, local))
            case Dot(of, name, nested):
                return self._member(self.value(of, local), name, nested=nested)
            case Index(of, at):
                return self._member(self.value(of, local), self.value(at, local), nested=False)
            case Call(name, arguments):
                return self._called(name, [self.value(each, local) for each in arguments])
        raise Wrong(f"{self.path.name}: {value}")

    def _member(self, of: Any, name: Any, *, nested: bool) -> Any:
        match of:
            case Resource() if nested:
                return of.nested[name]
            case Resource() if name in {"id", "name"}:
                return getattr(of, name)
            case Resource() if name in {"properties", "identity"}:
                return Told(of)
            case Told():
                return invented(of.resource.id, name)
            case Template() if name == "outputs":
                return of.outputs
            case dict() | list() | Mapping() if not nested:
                try:
                    return of[name]
                except (KeyError, IndexError):
                    raise Wrong(f"{self.path.name}: no {name!r} in {of}") from None
        raise Wrong(f"{self.path.name}: no {name!r} in {of}")

    def _called(self, name: str, given: list[Any]) -> Any:
        if name == "loadTextContent":
            return (self.path.parent / given[0]).read_text()
        if name == "loadJsonContent":
            return json.loads((self.path.parent / given[0]).read_text())
        if name == "resourceGroup":
            return {"id": self.scope, "name": self.scope.rpartition("/")[2], "location": "westeurope"}
        if name not in FUNCTIONS:
            raise Wrong(f"{self.path.name}: no function {name} that this knows")
        return FUNCTIONS[name](*given)
