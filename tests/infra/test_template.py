"""What `infra` deploys is what Azure takes, as far as that can be known without Azure."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pycep import BicepParser

from tests.infra.bicep import read
from tests.infra.checking import CASES, check, deployed, load
from tests.infra.evaluate import INFRA
from tests.infra.syntax import Wrong

PYCEP = BicepParser()
FILES = sorted(INFRA.rglob("*.bicep"))
NAMES = {  # https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
    "Microsoft.Storage/storageAccounts": "[a-z0-9]{3,24}",
    "Microsoft.KeyVault/vaults": "(?!.*--)[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]",
    "Microsoft.ContainerRegistry/registries": "[a-zA-Z0-9]{5,50}",
    "Microsoft.Batch/batchAccounts": "[a-z0-9]{3,24}",
    "Microsoft.MachineLearningServices/workspaces": "[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}",
    "Microsoft.Web/sites": "(?!-)[a-zA-Z0-9-]{2,60}(?<!-)",
    "Microsoft.EventHub/namespaces": "[a-zA-Z][a-zA-Z0-9-]{4,48}[a-zA-Z0-9]",
}

HASHES = ("readKeySha256", "operateKeySha256")


def resources(kind: str) -> list[Any]:
    """Those of a type, of all cases."""
    return [each for case in CASES.values() for each in deployed(case) if each.type == kind]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_pycep_reads_every_file(path: Path) -> None:
    assert PYCEP.parse(text=path.read_text())


def test_every_property_is_one_that_azure_knows() -> None:
    assert check(load()) == []


def test_every_resource_is_deployed_by_one_case_or_another() -> None:
    def declared(statements: Any, of: str) -> Iterator[str]:
        for each in statements:
            if each.kind == "resource":
                body = getattr(each.value, "body", each.value)
                if not each.existing:
                    yield f"{of} {each.name}"
                yield from declared(body.resources, of)

    written = {place for path in FILES for place in declared(read(path.read_text()), path.name)}
    assert {each.place for case in CASES.values() for each in deployed(case)} == written


def test_no_two_resources_of_a_deployment_share_an_id() -> None:
    for case in CASES.values():
        ids = [each.id.lower() for each in deployed(case)]
        assert len({*ids}) == len(ids)


@pytest.mark.parametrize(("kind", "pattern"), NAMES.items())
def test_names_are_such_as_azure_takes(kind: str, pattern: str) -> None:
    assert [each.name for each in resources(kind) if not re.fullmatch(pattern, each.name)] == []
    assert resources(kind)


def test_no_key_opens_anything() -> None:
    for account in resources("Microsoft.Storage/storageAccounts"):
        kept = {name: account.body["properties"][name] for name in ("allowSharedKeyAccess", "allowBlobPublicAccess")}
        assert kept == {"allowSharedKeyAccess": False, "allowBlobPublicAccess": False}
    for batch in resources("Microsoft.Batch/batchAccounts"):
        assert batch.body["properties"]["allowedAuthenticationModes"] == ["AAD"]
    for registry in resources("Microsoft.ContainerRegistry/registries"):
        assert registry.body["properties"]["adminUserEnabled"] is False
    for insights in resources("Microsoft.Insights/components"):
        assert insights.body["properties"]["DisableLocalAuth"] is True
    for hub in resources("Microsoft.EventHub/namespaces"):
        assert hub.body["properties"]["disableLocalAuth"] is True
    for credentials in resources("Microsoft.Web/sites/basicPublishingCredentialsPolicies"):
        assert credentials.body["properties"] == {"allow": False}
    text = "\n".join(path.read_text() for path in FILES)
    assert not re.search(r"list\w*(keys|secrets|sas)\w*\(|AccountKey|SharedAccessKey", text, re.IGNORECASE)


def test_what_must_not_be_read_again_is_marked_secure() -> None:
    hidden = re.compile("sha256|password|secret", re.IGNORECASE)
    statements = [(path.name, each) for path in FILES for each in read(path.read_text()) if hidden.search(each.name)]
    parameters = {f"{file} {each.name}" for file, each in statements if each.kind == "param"}
    secure = {f"{file} {each.name}" for file, each in statements if "secure" in each.decorators}
    assert secure == parameters == {f"{file} {name}" for file in ("main.bicep", "app.bicep") for name in HASHES}
    assert [each.name for _, each in statements if each.kind == "output"] == []


# What is broken on purpose, and how it is told

BROKEN = [
    (
        "main.bicep",
        "location: location\n  tags: tags\n}",
        "location: locaton\n  tags: tags\n}",
        "nobody declared locaton",
    ),
    ("main.bicep", "quotaGb: logQuotaGb", "quota: logQuotaGb", "no parameter"),
    ("main.bicep", "    quotaGb: logQuotaGb\n", "", "parameter quotaGb is expected|nobody uses"),
    ("main.bicep", "monitoring.outputs.insights", "monitoring.outputs.insight", "no 'insight'"),
    ("main.bicep", "days: logDays", "days: '30'", "wants int"),
    ("modules/host.bicep", "allowBlobPublicAccess", "allowPublicBlobAccess", "no such property"),
    ("modules/host.bicep", "'TLS1_2'", "'TLS12'", "expected TLS1_0"),
    ("modules/host.bicep", "  kind: 'StorageV2'\n", "", "kind is expected"),
    ("modules/host.bicep", "@2025-01-01' = {\n  // checkov", "@2025-01-02' = {\n  // checkov", "no type"),
    ("modules/app.bicep", "httpsOnly: true", "httpsOnly: 'yes'", "expected bool"),
    ("modules/app.bicep", "httpsOnly: true", "state: 'Running'", "Azure's to set"),
    ("modules/app.bicep", "name: 'authsettingsV2'", "name: 'authsettingsv2'", "expected one of"),
    (
        "modules/app.bicep",
        "maximumInstanceCount: maxInstances",
        "maximumInstanceCount: '${maxInstances}'",
        "expected int",
    ),
    ("modules/azureml.bicep", "'AmlCompute'", "'AmlCluster'", "expected one of"),
    (
        "modules/azureml.bicep",
        "  parent: workspace\n  name: 'scorer'",
        "  parent: vault\n  name: 'scorer'",
        "does not lie in",
    ),
    (
        "modules/budget.bicep",
        "contactEmails: contacts }\n      all",
        "contactEmails: [ }\n      all",
        "expected an expression",
    ),
    ("modules/registry.bicep", "roles.AcrPull)\n  scope", "roles.AcrPush)\n  scope", "no 'AcrPush'"),
    ("modules/alerts.bicep", "'GreaterThan'", "'MoreThan'", "expected Equals"),
    ("modules/app.bicep", "@secure()\nparam read", "@secure()\n@secure()\nparam read", "each decorator once"),
]


@pytest.mark.parametrize(("file", "old", "new", "told"), BROKEN)
def test_what_is_broken_is_told(tmp_path: Path, file: str, old: str, new: str, told: str) -> None:
    infra = shutil.copytree(INFRA, tmp_path / "infra")
    text = (infra / file).read_text()
    assert old in text
    (infra / file).write_text(text.replace(old, new))
    try:
        problems = check(load(), infra)
    except Wrong as error:
        problems = [str(error)]
    assert re.search(told, "\n".join(problems))
