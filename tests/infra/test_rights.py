"""The settings that the app is given, the roles that identities get, and what alerts listen for."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from shared.config import settings
from tests.infra.checking import BASE, CASES, PERSON, deployed
from tests.infra.evaluate import INFRA, Resource
from tests.infra.functions import invented

ROOT = INFRA.parent
SECURITY = (ROOT / "docs" / "security.md").read_text()
OF_THE_HOST = {  # read by the Functions host, Application Insights and azure-identity, and not by settings.py
    "AzureWebJobsStorage__accountName",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "AZURE_CLIENT_ID",
    "AZURE_TOKEN_CREDENTIALS",
}

OF_SERVICES = {  # in docs/security.md, the identities that Azure makes for a service
    "Microsoft.EventHub/namespaces": "capture",
    "Microsoft.StreamAnalytics/streamingjobs": "stream",
    "Microsoft.DataFactory/factories": "factory",
}


def given(case: Mapping[str, Any]) -> Mapping[str, str]:
    """The app settings of a deployment."""
    return next(each.body["properties"] for each in deployed(case) if each.place == "app.bicep appsettings")


# Settings


@pytest.mark.parametrize("case", CASES)
def test_the_app_takes_the_settings_that_it_is_given(case: str) -> None:
    found = given(CASES[case])
    assert set(found) - OF_THE_HOST <= set(settings.list_names())
    assert [name for name, value in found.items() if not isinstance(value, str)] == []
    taken = settings.load_settings(found)  # a setting that is not given has a default, or this raises
    assert taken.cluster == CASES[case].get("cluster", "azureml")
    assert taken.sign_in == ("entra" if "entraClientId" in CASES[case] else "")


def test_the_settings_say_where_things_are() -> None:
    by_id = {each.id: each for each in deployed(BASE)}
    found = given(BASE)
    account = next(each for each in by_id.values() if each.name.startswith("stdata"))
    version = next(each for each in by_id.values() if each.place == "azureml.bicep version")
    assert found["STORAGE"] == f"https://{account.name}.blob.core.windows.net"
    assert by_id[found["AML_WORKSPACE"]].place == "azureml.bicep workspace"
    assert found["AML_ENVIRONMENT"] == f"{version.scope.rpartition('/')[2]}:{version.name}"
    assert version.body["properties"]["image"].endswith(f".azurecr.io/{found['AML_ENVIRONMENT']}")
    containers = [
        each.name for each in by_id.values() if each.type.endswith("/containers") and each.scope.startswith(account.id)
    ]
    named = ["MODELS_CONTAINER", "READINGS_CONTAINER", "PREDICTIONS_CONTAINER", "WORK_CONTAINER"]
    assert [found[name] for name in named] == containers
    assert found["MAX_CORES"] == "2"


def test_batch_is_told_the_same_image_and_the_identity_of_its_pool() -> None:
    found = given(CASES["batch"])
    pool = next(each for each in deployed(CASES["batch"]) if each.place == "batch.bicep pool")
    assert list(pool.body["identity"]["userAssignedIdentities"]) == [found["BATCH_IDENTITY"]]
    assert re.fullmatch(r"cr\w+\.azurecr\.io/fleetscore-scorer:0123456789ab", found["BATCH_IMAGE"])
    assert {name for name in found if name.startswith("AML_")} == set()


def test_what_a_person_sets_wins() -> None:
    assert given(BASE | {"settings": {"WINDOW": "PT15M", "MAX_CORES": "3"}})["MAX_CORES"] == "3"


def test_the_sign_in_is_believed_only_where_it_stands_before_the_app() -> None:
    for case in CASES.values():
        auth = [each for each in deployed(case) if each.place == "app.bicep auth"]
        assert len(auth) == (given(case)["SIGN_IN"] == "entra")
        for each in auth:
            rules = each.body["properties"]["globalValidation"]
            assert rules["requireAuthentication"] is True
            assert rules["excludedPaths"] == ["/api/health"]


# Roles


def grants(resources: list[Resource]) -> Iterator[tuple[str, str, str]]:
    """Who gets which role on what, in the words of docs/security.md."""
    who = {PERSON: "person"}
    for each in resources:
        if each.type == "Microsoft.ManagedIdentity/userAssignedIdentities":
            who[_principal(each)] = each.place.rpartition(" ")[2]
        if each.body.get("identity", {}).get("type") == "SystemAssigned":
            who[_principal(each)] = OF_SERVICES[each.type]
    roles = {guid: name for name, guid in json.loads((INFRA / "modules" / "roles.json").read_text()).items()}
    roles |= {each.name: each.body["properties"]["roleName"].partition(" (")[0] for each in resources if _defines(each)}
    for each in resources:
        if each.type == "Microsoft.Authorization/roleAssignments":
            role = each.body["properties"]["roleDefinitionId"].rpartition("/")[2]
            yield who[each.body["properties"]["principalId"]], roles[role], _on(each.scope)


def _principal(resource: Resource) -> str:
    return invented(resource.id, "principalId")


def _defines(resource: Resource) -> bool:
    return resource.type == "Microsoft.Authorization/roleDefinitions"


def _on(scope: str) -> str:
    kind, name = scope.rstrip("/").split("/")[-2:]
    if kind == "containers":
        assert "/storageAccounts/stdata" in scope
        return f"container `{name}`"
    accounts = {"stdata": "data account", "sthost": "host account", "stml": "Azure ML's account"}
    words = {
        "registries": "registry",
        "workspaces": "Azure ML workspace",
        "components": "Application Insights",
        "vaults": "key vault",
        "batchAccounts": "Batch account",
        "eventhubs": "event hub",
    }
    if kind == "storageAccounts":
        return next(word for beginning, word in accounts.items() if name.startswith(beginning))
    return words.get(kind, scope)


def between(mark: str) -> list[str]:
    """The lines between two comments of docs/security.md."""
    return SECURITY.split(f"<!-- {mark} -->\n")[1].split(f"<!-- /{mark} -->")[0].strip().splitlines()


def test_nobody_may_do_more_or_less_than_the_table_says() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in between("roles")[2:]]
    table = {(row[0], row[1], row[2]) for row in rows}
    assert len(table) == len(rows)
    assert {grant for case in CASES.values() for grant in grants(deployed(case))} == table


@pytest.mark.parametrize("case", CASES)
def test_the_app_may_list_readings_only_where_windows_wait_for_them(case: str) -> None:
    rights = {role for who, role, on in grants(deployed(CASES[case])) if (who, on) == ("app", "container `readings`")}
    wait_for = CASES[case].get("waitFor", "")
    assert given(CASES[case]).get("WAIT_FOR", "") == wait_for
    assert rights == ({"Storage Blob Data Reader"} if wait_for else set())


@pytest.mark.parametrize("case", CASES)
def test_nodes_may_write_to_the_container_of_tables_only_where_they_publish_to_it(case: str) -> None:
    resources, sinks = deployed(CASES[case]), CASES[case].get("sinks", "")
    rights = {(who, role) for who, role, on in grants(resources) if on == "container `tables`"}
    readers = {("person", "Storage Blob Data Reader")} if "personId" in CASES[case] else set()
    assert given(CASES[case]).get("SINKS", "") == sinks
    assert given(CASES[case]).get("TABLES_CONTAINER", "") == ("tables" if sinks == "delta" else "")
    assert rights == ({("nodes", "Storage Blob Data Contributor")} | readers if sinks == "delta" else set())
    assert "tables" in {each.name for each in resources if each.type.endswith("/containers")} or sinks != "delta"


def test_without_a_person_none_is_let_in() -> None:
    assert "person" not in {who for who, _, _ in grants(deployed(BASE))}


def test_nodes_never_reach_predictions() -> None:
    reached = {on for case in CASES.values() for who, _, on in grants(deployed(case)) if who == "nodes"}
    assert "container `predictions`" not in reached
    assert "data account" not in reached


def test_the_role_of_our_own_is_what_the_page_says_and_reads_no_secret() -> None:
    roles = [each for each in deployed(BASE) if _defines(each)]
    (permissions,) = roles[0].body["properties"]["permissions"]
    listed = [re.findall("`([^`]+)`", line) for line in between("actions")]
    assert permissions["actions"] == [names[0] for names in listed]
    assert permissions["notActions"] == [
        f"Microsoft.MachineLearningServices/workspaces/{name}" for names in listed for name in names[1:]
    ]
    assert [
        each for each in permissions["actions"] if re.search("secret|key|token|credential", each, re.IGNORECASE)
    ] == []
    assert [each for each in permissions["actions"] if "*" in each] == [
        "Microsoft.MachineLearningServices/workspaces/jobs/*"
    ]


def test_the_roles_are_those_of_azure() -> None:
    roles = json.loads((INFRA / "modules" / "roles.json").read_text())
    used = {role for case in CASES.values() for _, role, _ in grants(deployed(case))}
    assert used == {*roles, "fleetscore jobs"}
    # https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
    assert roles["Storage Blob Data Reader"] == "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
    assert roles["Storage Blob Data Contributor"] == "ba92f5b4-2d11-453d-a403-e96b0029c9fe"


# Alerts


def said(path: Path, words: str) -> str:
    """The one format of a line of the log, in a file of ours, that has these words."""
    texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    (found,) = {text for text in texts if isinstance(text, str) and words in text and text.startswith("run=")}
    return found


def test_alerts_listen_for_what_the_app_says() -> None:
    rules = {
        each.name: each.body["properties"] for each in deployed(CASES["azureml"]) if each.place == "alerts.bicep alerts"
    }
    queries = {name: rule["criteria"]["allOf"][0]["query"] for name, rule in rules.items()}
    heard = {name: re.findall('matches regex "([^"]+)"', query) for name, query in queries.items()}
    run = "20261121T0700Z-PT1H"
    control, opening = ROOT / "shared" / "control" / "loop.py", ROOT / "shared" / "control" / "open_runs.py"
    failed = said(control, "run=%s %s->%s") % (run, "running", "failed", "no model was scored")
    stopped = said(control, "run=%s stopped:") % (run, "deadline", "too long")
    missed = said(opening, "run=%s missed:") % (run, "too old")
    assert re.search(heard["fleetscore-run-failed"][0], failed)
    assert re.search(heard["fleetscore-run-failed"][1], stopped)
    assert re.search(heard["fleetscore-window-missed"][0], missed)
    fine = said(control, "run=%s %s->%s") % (run, "running", "succeeded", "all failed models were mended")
    assert not any(re.search(pattern, fine) for patterns in heard.values() for pattern in patterns)
    (beat,) = re.findall(r"@app\.timer_trigger\(.*\)\ndef (\w+)", (ROOT / "function_app.py").read_text())
    assert f'name == "{beat}"' in queries["fleetscore-no-heartbeat"]
    assert rules["fleetscore-no-heartbeat"]["windowSize"] == "PT10M"


def test_alerts_reach_whoever_is_named_and_the_budget_too() -> None:
    resources = deployed(CASES["azureml"])
    group = next(each for each in resources if each.type == "Microsoft.Insights/actionGroups")
    rules = [each for each in resources if each.type == "Microsoft.Insights/scheduledQueryRules"]
    assert {tuple(rule.body["properties"]["actions"]["actionGroups"]) for rule in rules} == {(group.id,)}
    assert group.body["properties"]["emailReceivers"][0]["emailAddress"] == "duty@example.com"
    budget = next(each for each in resources if each.type == "Microsoft.Consumption/budgets")
    assert budget.body["properties"]["timePeriod"] == {"startDate": "2026-11-01"}
    assert [each for each in deployed(BASE) if each.type in {group.type, budget.type}] == []
