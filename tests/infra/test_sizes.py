"""How large a deployment is: the parameter files, and how the cluster grows and goes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.infra.bicep import read
from tests.infra.checking import BASE, CASES, deployed
from tests.infra.evaluate import INFRA, Template
from tests.infra.syntax import Name, Text


def resources(kind: str) -> list[Any]:
    """Those of a type, of all cases."""
    return [each for case in CASES.values() for each in deployed(case) if each.type == kind]


NEEDED = {
    "AZURE_ENV_NAME": "dev",
    "AZURE_LOCATION": "westeurope",
    "SCORER_TAG": "0123456789ab",
    "BUDGET_START": "2026-11-01",
}


def of_bicepparam(path: Path) -> dict[str, Any]:
    """The parameters of such a file, where the environment holds what has no default."""
    using, *lines = [line for line in path.read_text().splitlines() if line and not line.startswith("//")]
    assert using == "using './main.bicep'"
    found = {}
    for line in lines:
        statement = read(line.replace("param ", "var ", 1))[0]
        value: Any = statement.value
        if getattr(value, "name", "") == "readEnvironmentVariable":
            name, *default = ("".join(each.parts) for each in value.arguments)
            value = NEEDED[name] if not default else default[0]
        elif isinstance(value, Text):
            value = "".join(value.parts)
        assert not isinstance(value, Name)
        found[statement.name] = value
    return found


@pytest.mark.parametrize("size", ["dev", "prod"])
def test_the_parameter_files_deploy(size: str) -> None:
    given = of_bicepparam(INFRA / f"main.{size}.bicepparam")
    assert deployed(given)
    assert deployed(given | {"cluster": "batch"})


def test_azd_asks_for_no_parameter_and_knows_no_other() -> None:
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    values = {}
    for name, each in given.items():
        variable, _, default = each["value"].removeprefix("${").removesuffix("}").partition("=")
        assert default or variable in {*NEEDED} or each["value"].endswith("=}")
        values[name] = NEEDED.get(variable, default)
    assert deployed(values)
    assert set(given) <= set(of_bicepparam(INFRA / "main.dev.bicepparam"))


def test_every_parameter_says_what_it_is_and_only_three_have_no_default() -> None:
    parameters = Template(INFRA / "main.bicep", BASE).of_kind("param")
    assert [each.name for each in parameters if "description" not in each.decorators] == []
    assert {each.name for each in parameters if each.value is None} == set(BASE)


def test_a_cluster_begins_with_no_node_and_ends_where_it_is_told() -> None:
    for compute in resources("Microsoft.MachineLearningServices/workspaces/computes"):
        scale = compute.body["properties"]["properties"]["scaleSettings"]
        assert (scale["minNodeCount"], scale["maxNodeCount"]) == (0, 2)
    idle = [
        compute.body["properties"]["properties"]["scaleSettings"]["nodeIdleTimeBeforeScaleDown"]
        for compute in resources("Microsoft.MachineLearningServices/workspaces/computes")
    ]
    assert idle == ["PT5M", "PT75M"]  # the second keeps warm, from hour to hour


class Samples:
    """What Batch has seen of the tasks that wait or run, minute by minute, the newest last."""

    def __init__(self, *seen: int) -> None:
        self.seen = seen

    def GetSamplePercent(self, minutes: int) -> float:  # noqa: N802  # Batch's names
        return 100 * min(1, len(self.seen) / minutes)

    def GetSample(self, minutes: int) -> list[int]:  # noqa: N802
        assert self.seen, "Batch would leave the pool as it is"
        return list(self.seen[-minutes:])


def nodes_wanted(formula: str, *seen: int) -> tuple[int, int]:
    """Dedicated and low-priority nodes, by the formula in words of Python."""
    most = max
    known: dict[str, Any] = {
        "PendingTasks": Samples(*seen),
        "TimeInterval_Minute": 1,
        "taskcompletion": "",
        "min": min,
        "max": lambda *given: most(x for each in given for x in (each if isinstance(each, list) else [each])),
    }
    for line in formula.replace("$", "").strip().removesuffix(";").split(";\n"):
        name, _, value = line.partition(" = ")
        known[name] = eval(re.sub(r"(.*) \? (.*) : (.*)", r"(\2) if (\1) else (\3)", value), {}, known)
    return known["TargetDedicatedNodes"], known["TargetLowPriorityNodes"]


def test_the_pool_of_batch_grows_from_nothing_by_its_mix_and_goes_again() -> None:
    mixed, dedicated = (
        pool.body["properties"]["scaleSettings"]["autoScale"]["formula"]
        for pool in resources("Microsoft.Batch/batchAccounts/pools")
    )
    quiet = [0] * 60
    assert [nodes_wanted(mixed, *seen) for seen in ([], quiet, [*quiet, 1], [*quiet, 50], [50, *quiet])] == [
        (0, 0),
        (0, 0),
        (1, 0),
        (1, 1),
        (0, 0),
    ]
    assert [nodes_wanted(dedicated, *seen) for seen in ([], [3], [*quiet, 50, 0, 0], [*quiet, 50, *quiet])] == [
        (0, 0),
        (3, 0),
        (7, 0),
        (0, 0),
    ]
