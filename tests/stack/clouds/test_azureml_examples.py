"""The stand-in of an Azure ML workspace, and what we send it, beside the official examples."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.clouds.azureml import COMPUTE, WORKSPACE, checked
from tests.clouds.azureml_world import AzureMLWorld
from tests.clouds.stand_in import Request
from tests.stack.clouds.test_azureml import spec

pytestmark = pytest.mark.data


def example(name: str) -> Any:
    if "FLEETSCORE_DATA" not in os.environ:
        pytest.skip("the official examples are expected beside FLEETSCORE_DATA")
    path = Path(os.environ["FLEETSCORE_DATA"]).parent / "specs" / "azure" / "examples" / f"{name}.json"
    return json.loads(path.read_text())


def answered(world: AzureMLWorld, method: str, path: str) -> Any:
    token = world.azure.server.requests[-1].headers
    return world.azure.server._answer(Request(method, f"{WORKSPACE}{path}", {"api-version": "x"}, token)).body


def test_the_stand_in_answers_with_the_fields_of_the_official_examples(azureml_world: AzureMLWorld) -> None:
    job = spec()
    azureml_world.cluster.submit([job])
    azureml_world.cluster.count_nodes()
    real, ours = (
        example("recorded_real_command_job_PUT_201")["body"],
        answered(azureml_world, "GET", f"/jobs/{job.name}"),
    )
    assert set(real) == set(ours)
    assert set(real["properties"]) == set(ours["properties"])
    assert set(real["properties"]["services"]["Studio"]) == set(ours["properties"]["services"]["Studio"])
    body = example("aml_Compute_get_AmlCompute")["responses"]["200"]["body"]
    ours = answered(azureml_world, "GET", f"/computes/{COMPUTE}")
    assert set(body) == set(ours)
    assert set(body["properties"]) == set(ours["properties"])
    assert set(body["properties"]["properties"]) == set(ours["properties"]["properties"])
    counts = body["properties"]["properties"]["nodeStateCounts"]
    assert set(counts) == set(ours["properties"]["properties"]["nodeStateCounts"])
    error = example("reported_error_job_name_exists")["body"]
    azureml_world.azure.picky = True
    again = azureml_world.azure._put(job.name, azureml_world.azure.jobs[job.name].properties)
    assert again.body == error


def test_an_order_has_only_fields_that_the_official_example_and_the_sdk_itself_write(
    azureml_world: AzureMLWorld,
) -> None:
    azureml_world.cluster.submit([spec()])
    ours = checked("JobBase", azureml_world.azure.server.requests[0].json)["properties"]
    official = example("aml_CommandJob_createOrUpdate")["parameters"]["body"]["properties"]
    assert set(ours) <= set(official)
    assert set(ours["limits"]) == set(official["limits"])
    assert set(ours["identity"]) == set(official["identity"])
    samples = example("../wire_samples_azure_ai_ml_1.35.2")
    assert samples
    of_sdk = next(sample["body"]["properties"] for name, sample in samples.items() if "/jobs/a1 " in name)
    assert set(ours) - set(of_sdk) == {"identity"}
    for name in ("computeId", "environmentId"):
        assert of_sdk[name].rpartition("/workspaces/")[0] == ours[name].rpartition("/workspaces/")[0]
