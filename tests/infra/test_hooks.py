"""What azd runs before and after it deploys, with an `az` and an `azd` that only write down what they are asked."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.api.auth import Role
from tests.infra.checking import BASE
from tests.infra.evaluate import INFRA, Template

ROOT = INFRA.parent
SUBSCRIPTION = "11111111-1111-1111-1111-111111111111"


@dataclass(frozen=True)
class Tools:
    """A folder of tools, and where they write what they are asked."""

    folder: Path
    asked: Path

    def make(self, name: str, does: str = "") -> None:
        tool = self.folder / name
        tool.write_text(f'#!/bin/sh\necho "{name} $*" >>"{self.asked}"\n{does}\n')
        tool.chmod(0o755)

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = {"PATH": f"{self.folder}:/usr/bin:/bin"}
        return subprocess.run(
            ["sh", INFRA / script, *arguments], env=path | environment, capture_output=True, text=True, check=False
        )

    def found(self) -> list[str]:
        return self.asked.read_text().splitlines() if self.asked.exists() else []


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    folder = tmp_path / "bin"
    folder.mkdir()
    made = Tools(folder, tmp_path / "asked")
    made.make(
        "az", f'case "$*" in *"--query id"*) echo {SUBSCRIPTION} ;; "acr repository"*) exit "${{MISSING:-0}}" ;; esac'
    )
    made.make("azd")
    return made


def tag(folder: Path = ROOT) -> str:
    """The version of the scorer in a folder."""
    return subprocess.run(
        ["sh", folder / "infra" / "tag.sh"], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The parts of the project that make the image, and the tool that reads them."""
    for folder in ("infra", "scorer", "shared"):
        shutil.copytree(ROOT / folder, tmp_path / "copy" / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "copy"


def test_the_version_is_that_of_what_is_in_the_image(copy: Path) -> None:
    first = tag(copy)
    assert re.fullmatch("[0-9a-f]{12}", first)
    assert first == tag()
    changed = {}
    for file in (
        "scorer/scoring/pipeline.py",
        "scorer/requirements.txt",
        "scorer/Dockerfile",
        "shared/contract/documents.py",
        "shared/control/loop.py",
    ):
        text = (copy / file).read_text()
        (copy / file).write_text(text + "\n# a change\n")
        changed[file] = tag(copy) != first
        (copy / file).write_text(text)
    assert changed == dict.fromkeys(changed, True) | {"shared/control/loop.py": False}  # no part of the image
    (copy / "scorer" / "scoring" / "pipeline.py").rename(copy / "scorer" / "scoring" / "renamed.py")
    assert tag(copy) != first


def test_the_first_time_only_the_version_and_the_budget_are_told(tools: Tools) -> None:
    done = tools.run("preprovision.sh")
    assert done.returncode == 0, done.stderr
    told = [line for line in tools.found() if line.startswith("azd")]
    assert told[0] == f"azd env set SCORER_TAG {tag()}"
    assert re.fullmatch(r"azd env set BUDGET_START 20\d\d-[01]\d-01", told[1])
    assert [line for line in tools.found() if line.startswith("az acr")] == []


def test_later_the_image_is_built_before_the_app_is_told_of_it(tools: Tools) -> None:
    known = {"AZURE_CONTAINER_REGISTRY_NAME": "crtest", "BUDGET_START": "2026-11-01", "MISSING": "1"}
    assert tools.run("preprovision.sh", **known).returncode == 0
    *_, looked, built = tools.found()
    assert looked.startswith(f"az acr repository show --name crtest --image fleetscore-scorer:{tag()}")
    assert built.startswith(f"az acr build --registry crtest --image fleetscore-scorer:{tag()} --platform linux/amd64")
    assert not [line for line in tools.found() if "BUDGET_START" in line]


@pytest.mark.parametrize(
    ("environment", "providers"),
    [
        ({}, []),
        ({"STREAMING": "capture"}, ["Microsoft.EventHub"]),
        (
            {"STREAMING": "analytics", "STREAM_SOURCE": "iot-hub", "STATIC_DATA": "copy"},
            ["Microsoft.EventHub", "Microsoft.StreamAnalytics", "Microsoft.Devices", "Microsoft.DataFactory"],
        ),
    ],
)
def test_the_providers_of_streams_are_registered_where_there_are_some(
    tools: Tools, environment: Mapping[str, str], providers: list[str]
) -> None:
    assert tools.run("preprovision.sh", **environment).returncode == 0
    registered = re.findall(r"az provider register --namespace (\S+)", "\n".join(tools.found()))
    assert registered[1 : 1 + len(providers)] == providers
    assert registered[1 + len(providers)] == "Microsoft.App"


def test_the_first_hour_of_static_data_is_remembered(tools: Tools) -> None:
    assert tools.run("preprovision.sh", STATIC_DATA="copy").returncode == 0
    (told,) = [line for line in tools.found() if "STATIC_FROM" in line]
    assert re.fullmatch(r"azd env set STATIC_FROM 20\d\d-[01]\d-[0-3]\dT[0-2]\d:00:00Z", told)
    tools.asked.unlink()
    assert tools.run("preprovision.sh", STATIC_DATA="copy", STATIC_FROM="2026-11-21T07:00:00Z").returncode == 0
    assert not [line for line in tools.found() if "STATIC_FROM" in line]


def test_an_image_for_another_user_is_another_image(tools: Tools) -> None:
    known = {"AZURE_CONTAINER_REGISTRY_NAME": "crtest", "BUDGET_START": "2026-11-01", "MISSING": "1"}
    assert tools.run("preprovision.sh", **known, SCORER_RUN_AS="0").returncode == 0
    *_, built = tools.found()
    name = re.search(r"--image (\S+) .* --build-arg RUN_AS=0 --file scorer/Dockerfile", built)
    assert name
    assert name[1] != f"fleetscore-scorer:{tag()}"


def test_an_image_that_is_there_is_not_built(tools: Tools) -> None:
    environment = {"AZURE_CONTAINER_REGISTRY_NAME": "crtest", "SCORER_IMAGE": "fleetscore-scorer:abc"}
    assert tools.run("build.sh", **environment).stdout == "fleetscore-scorer:abc is there\n"
    assert len(tools.found()) == 1


@pytest.mark.parametrize(
    ("environment", "az", "told"),
    [
        ({}, "exit 1", "somebody who is signed in: az login"),
        ({"CLUSTER": "dask"}, f"echo {SUBSCRIPTION}", "CLUSTER to be azureml or batch, got dask"),
        ({"STREAMING": "kafka"}, f"echo {SUBSCRIPTION}", "STREAMING to be capture, analytics or empty, got kafka"),
        (
            {"STREAMING": "capture", "STREAM_SOURCE": "IoT-Hub"},
            f"echo {SUBSCRIPTION}",
            "STREAM_SOURCE to be event-hub, iot-hub or empty, got IoT-Hub",
        ),
        ({"STATIC_DATA": "all"}, f"echo {SUBSCRIPTION}", "STATIC_DATA to be copy, aggregate or empty, got all"),
        ({"AZURE_SUBSCRIPTION_ID": "other"}, f"echo {SUBSCRIPTION}", f"azd has other, az has {SUBSCRIPTION}"),
    ],
)
def test_what_is_wanted_is_said(tools: Tools, environment: Mapping[str, str], az: str, told: str) -> None:
    tools.make("az", az)
    done = tools.run("preprovision.sh", **environment)
    assert done.returncode == 1
    assert told in done.stderr


def test_azure_yaml_names_what_is_there() -> None:
    text = (ROOT / "azure.yaml").read_text()
    # By `sh`: azd runs a bare path as a program, and whoever has downloaded the project has no bit that says it is one.
    runs = re.findall(r"run: (.+?)(?: #.*)?$", text, re.MULTILINE)
    assert runs == ["sh infra/preprovision.sh", "sh infra/build.sh"]
    assert [run for run in runs if not (ROOT / run.split()[1]).exists()] == []
    for path in INFRA.glob("*.sh"):
        assert subprocess.run(["sh", "-n", path], check=False).returncode == 0


def test_what_the_makefile_and_the_hooks_ask_azd_for_is_told_by_the_deployment(tools: Tools) -> None:
    tools.run("preprovision.sh")
    told = {line.split()[3] for line in tools.found() if line.startswith("azd env set")}
    told |= {*Template(INFRA / "main.bicep", BASE).outputs}
    assert {*re.findall(r"azd env get-value (\w+)", (ROOT / "Makefile").read_text())} <= told
    assert {*re.findall(r"\$\{(\w+):\?", "".join(path.read_text() for path in INFRA.glob("*.sh")))} - told <= {
        "AZURE_ENV_NAME"
    }


def test_the_sign_in_is_registered_once(tools: Tools) -> None:
    values = "echo APP_URL=https://func.azurewebsites.net; echo AZURE_ENV_NAME=dev"
    tools.make("azd", f'case "$*" in "env get-values") {values} ;; esac')
    answers = (
        '*appRoles*) echo role ;; *"app create"*) echo client ;; *"sp create"*) echo principal ;; *show*) echo me ;;'
    )
    tools.make("az", f'case "$*" in {answers} esac')
    done = tools.run("sign-in.sh")
    assert done.returncode == 0, done.stderr
    asked = "\n".join(tools.found())
    assert "--web-redirect-uris https://func.azurewebsites.net/.auth/login/aad/callback" in asked
    assert "azd env set ENTRA_CLIENT_ID client" in asked
    assert not re.search("secret|credential|password", asked)
    scopes, cli = [json.loads(body) for body in re.findall(r"--method patch .*--body (.+)", asked)]
    (scope,) = scopes["api"]["oauth2PermissionScopes"]
    assert cli["api"] == scopes["api"] | {
        "preAuthorizedApplications": [
            {"appId": "04b07795-8ddb-461a-bbee-02f9e1bf7b46", "delegatedPermissionIds": [scope["id"]]}
        ]
    }
    assert '"principalId": "me", "resourceId": "principal", "appRoleId": "role"' in asked
    tools.asked.unlink()
    tools.make("az", 'case "$*" in *appRoles*) echo role ;; *list*) echo known ;; *show*) echo other ;; esac')
    assert tools.run("sign-in.sh", "other@example.com", "Reader").returncode == 0
    again = tools.found()
    assert not [line for line in again if " create " in line]
    (granted,) = [line for line in again if "method post" in line and "appRoleAssignedTo" in line]
    assert '"principalId": "other", "resourceId": "known", "appRoleId": "role"' in granted


def test_the_roles_of_the_app_registration_are_those_that_the_guard_knows() -> None:
    roles = json.loads((INFRA / "app-roles.json").read_text())
    assert [role["value"] for role in roles] == [role.value for role in Role]
    assert len({role["id"] for role in roles}) == len(roles)
