"""Settings: what is read, and that all problems are told at once."""

from datetime import timedelta

import pytest

from shared import bootstrap
from shared.adapters.azure.blobs import AzureBlobs
from shared.config.settings import list_names, load_settings
from shared.contract.errors import Misconfigured
from shared.contract.fleet.formats import ModelFormats
from shared.contract.model_names import Columns, ModelNames
from shared.contract.publishing.sinks import SinkKind
from shared.contract.scoring_options import CsvOptions, Features, Gaps, Probabilities, ReadingOptions, ScoringOptions
from shared.control.loop import ControlOptions
from shared.planning.chunking import ChunkSize
from shared.planning.completeness import WaitFor
from shared.planning.schedule import Schedule
from shared.publishing.notices import NotifyOptions
from shared.publishing.sink_options import SinkOptions

AZURITE = {"STORAGE": "UseDevelopmentStorage=true", "HEARTBEAT": "0 * * * * *"}


def test_two_settings_are_enough_and_the_rules_have_the_same_defaults() -> None:
    assert bootstrap.build_control_options(load_settings(AZURITE)) == ControlOptions()


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("READINGS_COLUMNS", "time=TS;device=Dev", "separated by commas, got 'time=TS;device=Dev'"),
        ("READINGS_COLUMNS", "time=TS device=Dev", "separated by commas, got 'time=TS device=Dev'"),
        ("READINGS_COLUMNS", "time=TS,device=TS", "expected different names for time, device, got 'time=TS,device=TS'"),
        ("FEATURES", "temp;amps", "expected names with commas between them, or a JSON list of texts, got 'temp;amps'"),
        ("STORAGE", "https://x", "got 9 characters that are none of these"),
        ("STORAGE", "https://fleet.file.core.windows.net", "characters that are none of these"),
        ("WINDOW_ORIGIN", "Monday", "expected a date such as 1970-01-05, which was a Monday, got 'Monday'"),
        ("WAIT_FOR", "marker", "expected marker:NAME, such as marker:_SUCCESS, or next-folder, got 'marker'"),
        ("WAIT_LIMIT", "2 hours", "expected an ISO 8601 duration such as PT10M or PT30S, got '2 hours'"),
        ("PREDICTIONS_CONTAINER", "readings", "expected another one than READINGS_CONTAINER, got 'readings'"),
        ("PREDICTIONS_CONTAINER", "models", "expected another one than MODELS_CONTAINER, got 'models'"),
        ("WORK_CONTAINER", "predictions", "expected another one than PREDICTIONS_CONTAINER, got 'predictions'"),
        (
            "SINKS",
            "delta,parquet",
            "expected delta or sql or events, or several with commas between them, got 'delta,parquet'",
        ),
        ("SINKS", "events", "expected where events go, for SINKS=events, got nothing"),
        ("EVENTS_URL", "http://hub.example.org/x", "got 24 characters that are none of these"),
        ("EVENTS_URL", "sb://evil.example/hub", "sb://NAMESPACE.servicebus.windows.net/HUB, got 21 characters"),
        ("EVENTS_URL", "sb://hub/", "expected https://HOST/... or sb://NAMESPACE.servicebus.windows.net/HUB"),
        ("NOTIFY_URL", "ftp://chat.example.org", "expected https://HOST/..., got 22 characters that are no such URL"),
        ("NOTIFY_ABOVE", "101", "less than or equal to 100"),
        (
            "PREDICTIONS_FOLDER",
            "false",
            "SINKS with delta or sql, where predictions are read then, got false",
        ),
        (
            "SINKS",
            "delta,delta",
            "delta or sql or events, or several with commas between them, got 'delta,delta', with a name twice",
        ),
        ("SINKS", "Delta", "several with commas between them, got 'Delta': names are in lower case"),
        ("SINKS", "delta,", "several with commas between them, got 'delta,', with an empty name"),
        ("SINKS", "sql", "expected the database, for SINKS=sql, got nothing"),
        ("DELTA_PATH", "../predictions", "expected a folder such as fleet/predictions, of letters"),
        ("DELTA_PATH", "prédictions", "expected a folder such as fleet/predictions, of letters"),
        ("SQL_TABLE", "prédictions", "expected TABLE or SCHEMA.TABLE, each of letters, digits and _, at most 48"),
        ("SQL_TABLE", "a.b.c", "expected TABLE or SCHEMA.TABLE, each of letters, digits and _, at most 48"),
        ("SQL_URL", "mysql://me@db:3306/fleet", "got 24 characters that are none of these"),
        ("SQL_URL", "postgresql://db:5432/fleet", "expected postgresql://USER@HOST:5432/DATABASE"),
        ("SQL_URL", "postgresql://me@db/fleet?password=x", "expected the options sslmode and sslrootcert alone"),
        ("SQL_URL", "postgresql://me@db/fleet/x", "got 26 characters that are none of these"),
        ("SQL_URL", "postgresql://me@db:port/fleet", "expected postgresql://USER@HOST:5432/DATABASE"),
    ],
)
def test_what_cannot_be_meant_is_refused(name: str, text: str, problem: str) -> None:
    needed = {"SQL_URL": {"SINKS": "sql"}, "EVENTS_URL": {"SINKS": "events"}}.get(name, {})
    with pytest.raises(Misconfigured) as caught:
        load_settings({**AZURITE, **needed, name: text, "CATCH_UP": "some"})
    first, *lines = str(caught.value).splitlines()
    assert first == "settings are wrong:"
    blamed = {"sql": "SQL_URL", "events": "EVENTS_URL"}.get(text, name)
    assert [line.split(":")[0].strip() for line in lines if problem in line] == [blamed]
    assert sorted(line.split(":")[0].strip() for line in lines) == sorted([blamed, "CATCH_UP"])


def test_what_windows_wait_for_is_passed_on_and_folders_that_cannot_show_it_are_refused_at_the_start() -> None:
    waits = {**AZURITE, "WAIT_FOR": "marker:_SUCCESS", "WAIT_LIMIT": "PT30M"}
    options = bootstrap.build_control_options(load_settings(waits))
    assert (options.wait_for, options.wait_limit) == (WaitFor("_SUCCESS"), timedelta(minutes=30))
    with pytest.raises(Misconfigured) as caught:
        load_settings({**waits, "READINGS_PATH": "{device}/%Y/%m/%d/"})
    problem = "expected a READINGS_PATH without {...} and *, which is not supported yet, got '{device}/%Y/%m/%d/'"
    assert str(caught.value) == f"settings are wrong:\n  WAIT_FOR: {problem}"


@pytest.mark.parametrize("name", ["EVENTS_URL", "NOTIFY_URL"])
@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/sesame",
        "http://example.org/sesame",
        "https://me:sesame@example.org",
        "https:sesame",
        "https://example.org:80a/sesame",
        "https://example.org:/sesame",
        "https://example.org:0/sesame",
        "https://example.org:70000/sesame",
        "https://[::1/sesame",
        "sesame",
    ],
)
def test_a_url_that_may_be_a_secret_is_never_shown(name: str, url: str) -> None:
    with pytest.raises(Misconfigured, match=f"{name}: expected https://HOST/") as caught:
        load_settings({**AZURITE, name: url})
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"SQL_URL": "mssql://db/fleet"}, "SQL_URL: expected sql in SINKS where it is set, got SINKS="),
        (
            {"SQL_URL": "mssql://db/fleet", "SINKS": "delta"},
            "SQL_URL: expected sql in SINKS where it is set, got SINKS=delta",
        ),
        (
            {"EVENTS_URL": "https://example.org/sesame", "SINKS": "delta"},
            "EVENTS_URL: expected events in SINKS where it is set, got SINKS=delta",
        ),
        ({"NOTIFY_KEY": "sesame"}, "NOTIFY_KEY: expected NOTIFY_URL where it is set, got no URL"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(values: dict[str, str], problem: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        load_settings({**AZURITE, **values})
    assert str(caught.value) == f"settings are wrong:\n  {problem}"


def test_a_key_without_a_url_is_refused_also_where_sinks_are_malformed() -> None:
    with pytest.raises(Misconfigured) as caught:
        load_settings({**AZURITE, "NOTIFY_KEY": "sesame", "SINKS": "tape"})
    _, key, sinks = str(caught.value).splitlines()
    assert key == "  NOTIFY_KEY: expected NOTIFY_URL where it is set, got no URL"
    assert sinks.startswith("  SINKS: expected ")


@pytest.mark.parametrize("text", ["false", "False", "0", "no", "OFF", "f", "n"])
def test_predictions_that_no_folder_and_no_sink_has_are_refused(text: str) -> None:
    with pytest.raises(Misconfigured, match="PREDICTIONS_FOLDER: expected true, or SINKS with delta or sql"):
        load_settings({**AZURITE, "PREDICTIONS_FOLDER": text})


def test_events_and_notifications_get_what_they_need() -> None:
    values = {
        **AZURITE,
        "SINKS": "events,delta",
        "EVENTS_URL": "sb://plant.servicebus.windows.net/changes",
        "EVENTS_ANOMALOUS": "12.5",
        "PREDICTIONS_FOLDER": "false",
        "NOTIFY_URL": "https://chat.example.org/hook?key=1",
        "NOTIFY_ABOVE": "0",
    }
    options = bootstrap.build_control_options(load_settings(values))
    assert options.sinks[1] == SinkOptions(
        SinkKind.EVENTS,
        (("url", "sb://plant.servicebus.windows.net/changes"), ("percent", "12.5"), ("runs", "schedule")),
    )
    assert (options.predictions_folder, options.notify) == (False, NotifyOptions(is_set=True, above=0.0))
    assert bootstrap.build_control_options(load_settings(AZURITE)).notify == NotifyOptions(is_set=False)


@pytest.mark.parametrize("user", ["me:sesame", ":sesame", "me:"])
def test_a_password_in_a_database_s_url_is_refused_and_never_shown(user: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        load_settings({**AZURITE, "SINKS": "sql", "SQL_URL": f"postgresql://{user}@db:5432/fleet"})
    problem = "expected a URL without a password, which nodes take from SQL_PASSWORD, got one with it"
    assert str(caught.value) == f"settings are wrong:\n  SQL_URL: {problem}"


@pytest.mark.parametrize("other", ["models", "readings", "predictions", "work"])
def test_tables_have_a_container_of_their_own_where_they_are_written(other: str) -> None:
    shared_by_both = {**AZURITE, "TABLES_CONTAINER": "mine", f"{other.upper()}_CONTAINER": "mine"}
    with pytest.raises(Misconfigured) as caught:
        load_settings({**shared_by_both, "SINKS": "delta"})
    problem = f"expected another one than {other.upper()}_CONTAINER, got 'mine'"
    assert str(caught.value) == f"settings are wrong:\n  TABLES_CONTAINER: {problem}"
    assert load_settings({**shared_by_both, "SINKS": "sql", "SQL_URL": "mssql://db/fleet"})


def test_sinks_get_their_target_and_no_password() -> None:
    database = "postgresql://me@db.postgres.database.azure.com:5432/fleet"
    values = {**AZURITE, "SINKS": "sql, delta", "SQL_URL": database, "SQL_TABLE": "plant.scores", "DELTA_PATH": "a/b"}
    sinks = bootstrap.build_control_options(load_settings(values)).sinks
    assert sinks == (
        SinkOptions(SinkKind.DELTA, (("url", "http://127.0.0.1:10000/devstoreaccount1/tables/a/b"),)),
        SinkOptions(SinkKind.SQL, (("url", database), ("table", "plant.scores"))),
    )


@pytest.mark.parametrize(
    ("sinks", "missing", "calls"),
    [
        ("", "'tables'", []),
        ("delta", "", ["looked"]),  # it exists, or the app may not look, as at Azure
        ("delta", "'tables'", ["looked", "created"]),
    ],
)
def test_the_container_of_tables_is_created_only_where_it_is_known_to_be_missing(
    sinks: str, missing: str, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(AzureBlobs, "describe_missing", lambda _: made.append("looked") or missing)
    monkeypatch.setattr(AzureBlobs, "ensure_container", lambda _: made.append("created") or True)
    assert bootstrap.create_tables_container(load_settings({**AZURITE, "SINKS": sinks})) == ("created" in calls)
    assert made == calls


@pytest.mark.parametrize(
    "given",
    [
        {"READINGS_COLUMNS": "time=TS; local,device=Dev=ice"},
        {"READINGS_COLUMNS": "time=my device,value=a value"},
        {"FEATURES": '["temp;amps"]'},
        {"PREDICTIONS_CONTAINER": "readings", "READINGS_PATH": "in/%Y/%m/%d/%H/"},
        {"READINGS_CONTAINER": "models"},
        {"STORAGE": "https://fleet.blob.storage.azure.net/"},
    ],
)
def test_what_is_unusual_and_can_be_meant_is_accepted(given: dict[str, str]) -> None:
    assert load_settings({**AZURITE, **given})


def test_an_empty_value_counts_as_not_set() -> None:
    assert load_settings({**AZURITE, "SCHEDULE": "", "CHUNK_SIZE": ""}) == load_settings(AZURITE)


def test_values_are_read_as_they_are_meant() -> None:
    settings = load_settings({
        **AZURITE, "CHUNK_SIZE": "1", "WINDOW": "PT15M", "SILENCE": "PT90S", "RETRY_BACKOFF": "PT5S",
        "READINGS_COLUMNS": "time=TS,device=Device,sensor=Tag,value=Value", "READINGS_PATH": "sensor_data.csv",
        "PREDICTIONS_SCHEMA": "2",
    })  # fmt: skip
    assert settings.predictions_schema == bootstrap.build_control_options(settings).planning.predictions_schema == 2
    assert settings.chunk_size == ChunkSize(1)
    assert (settings.window, settings.silence) == (timedelta(minutes=15), timedelta(seconds=90))
    assert settings.retry_backoff == timedelta(seconds=5)
    assert settings.readings_columns == Columns("TS", "Device", "Tag", "Value")
    assert settings.readings_path == "sensor_data.csv"


def test_further_formats_of_models_go_to_the_listing_with_the_pattern_of_names() -> None:
    settings = load_settings({**AZURITE, "MODEL_NAMES": "model_{device}", "MODEL_FORMATS": "txt, json"})
    names = bootstrap.build_control_options(settings).planning.model_names
    assert names == ModelNames("model_{device}", ModelFormats(("json", "txt")))


def test_the_schedule_is_read_in_its_zone_and_the_heartbeat_in_utc() -> None:
    settings = load_settings({**AZURITE, "SCHEDULE": "0 30 6 * * *", "SCHEDULE_TIME_ZONE": "Europe/Berlin"})
    assert bootstrap.build_control_options(settings).schedule == Schedule("0 30 6 * * *", "Europe/Berlin")
    assert settings.heartbeat == Schedule("0 * * * * *", "UTC")


@pytest.mark.parametrize("zone", ["", "UTC", "Europe/Berlin"])
def test_the_zone_of_the_readings_goes_to_the_nodes_and_utc_is_not_the_same_as_nothing(zone: str) -> None:
    settings = load_settings({**AZURITE, "READINGS_TIME_ZONE": zone})
    assert bootstrap.build_control_options(settings).planning.scoring.readings == ReadingOptions(time_zone=zone)


def test_all_problems_are_told_at_once_by_name_with_what_was_expected_and_got() -> None:
    wrong = {
        "SCHEDULE": "0 5 * * * 7",
        "SCHEDULE_TIME_ZONE": "Mars/Olympus",
        "READINGS_TIME_ZONE": "CEST",
        "HEARTBEAT": "every minute",
        "WINDOW": "PT7H",
        "CATCH_UP": "some",
        "CHUNK_SIZE": "0",
        "MAX_OPEN_RUNS": "none",
        "MODEL_NAMES": "{name}",
        "MODEL_FORMATS": "onnx",
        "READINGS_PATH": "../elsewhere",
        "READINGS_COLUMNS": "colour=red",
        "PREDICTIONS_SCHEMA": "3",
        "MODELS_CONTAINER": "Models",
        "CLUSTER": "abacus",
        "DASK_SCHEDULER": "localhost",
        "AML_WORKSPACE": "fleet",
        "AML_COMPUTE": "a cluster",
        "AML_ENVIRONMENT": "scorer@latest",
        "ARM_ENDPOINT": "http://management.azure.com",
        "BATCH_ENDPOINT": "fleet.westeurope.batch.azure.com",
        "BATCH_POOL": "a pool",
        "BATCH_IMAGE": "scorer",
        "BATCH_IDENTITY": "nodes",
        "NODE_CLIENT_ID": "nodes",
        "SIGN_IN": "by name",
        "OPERATE_KEY_SHA256": "my password",
        "STORAGE": "AccountKey of mine",
        "SILENCE": "10",
    }
    with pytest.raises(Misconfigured) as caught:
        load_settings(wrong)
    first, *problems = str(caught.value).splitlines()
    assert first == "settings are wrong:"
    assert {line.split(":")[0].strip() for line in problems} == set(wrong) | {"HEARTBEAT"}
    for line in problems:
        name = line.split(":")[0].strip()
        assert "got" in line or name == "OPERATE_KEY_SHA256", line
    assert "my password" not in str(caught.value)
    assert "of mine" not in str(caught.value)


IDS = "/subscriptions/0a/resourceGroups/fleet/providers"
AZURE_ML = {
    **AZURITE,
    "CLUSTER": "azureml",
    "AML_WORKSPACE": f"{IDS}/Microsoft.MachineLearningServices/workspaces/fleet",
    "AML_ENVIRONMENT": "fleetscore-scorer:1.0-9f",
    "NODE_CLIENT_ID": "0a1b2c3d-0000-0000-0000-00000000000f",
}
BATCH = {
    **AZURITE,
    "CLUSTER": "batch",
    "BATCH_ENDPOINT": "https://fleet.westeurope.batch.azure.com",
    "BATCH_IMAGE": "fleet.azurecr.io/fleetscore-scorer:9f",
}


@pytest.mark.parametrize("given", [AZURE_ML, BATCH])
def test_what_a_cluster_cannot_be_reached_without_is_wanted_with_all_else_that_is_wrong(given: dict[str, str]) -> None:
    load_settings(given)
    with pytest.raises(Misconfigured) as caught:
        load_settings(
            {**{name: value for name, value in given.items() if name in AZURITE or name == "CLUSTER"}, "WINDOW": "PT7H"}
        )
    _, *problems = str(caught.value).splitlines()
    expected = sorted({*given} - {*AZURITE, "CLUSTER"})
    assert sorted(line.split(":")[0].strip() for line in problems) == sorted([*expected, "WINDOW"])
    for line in problems:
        assert "WINDOW" in line or line.endswith(f", for CLUSTER={given['CLUSTER']}, got nothing"), line


def test_a_cluster_that_is_not_chosen_wants_nothing() -> None:
    assert load_settings(AZURITE).aml_workspace == ""


@pytest.mark.parametrize("given", [AZURE_ML, BATCH])
def test_the_cluster_is_made_without_asking_anything_of_it(given: dict[str, str]) -> None:
    kind = type(bootstrap.build_control_plane(load_settings(given)).cluster).__name__
    assert kind == {"azureml": "AzureMLCluster", "batch": "BatchCluster"}[given["CLUSTER"]]


def test_resources_of_azure_are_named_in_any_case() -> None:
    other = AZURE_ML["AML_WORKSPACE"].replace("resourceGroups", "resourcegroups")
    assert load_settings({**AZURE_ML, "AML_WORKSPACE": other}).aml_workspace == other


def test_what_features_and_gaps_are_is_passed_on_to_the_nodes() -> None:
    told = {"FEATURES": "temp, amps", "GAPS": "drop", "MISSING_VALUES": "-999,65535"}
    options = bootstrap.build_control_options(load_settings({**AZURITE, **told})).planning.scoring.readings
    assert options == ReadingOptions(features=Features(("temp", "amps")), gaps=Gaps.DROP, missing_values=(-999, 65535))


def test_how_csv_is_written_is_passed_on_to_the_nodes_and_stands_in_the_manifest_only_where_it_is_set() -> None:
    told = {"READINGS_CSV": "separator=tab, decimal=comma,comment=%"}
    options = bootstrap.build_control_options(load_settings({**AZURITE, **told})).planning.scoring.readings
    assert options == ReadingOptions(csv=CsvOptions("\t", ",", "%"))
    assert options.to_json(2) == {
        **ReadingOptions().to_json(2),
        "csv": {"separator": "\t", "decimal": ",", "comment": "%"},
    }
    assert ReadingOptions.from_json(options.to_json(2)) == options


def test_which_probabilities_are_written_is_passed_on_to_the_nodes() -> None:
    for told, expected in [({}, Probabilities.LABEL), ({"PROBABILITIES": "all"}, Probabilities.ALL)]:
        options = bootstrap.build_control_options(load_settings({**AZURITE, **told})).planning.scoring
        assert options.probabilities is expected
        assert ScoringOptions.from_json(options.to_json()).probabilities is expected
    assert ScoringOptions(probabilities=Probabilities.LABEL).to_json().keys() == ScoringOptions().to_json().keys()
    with pytest.raises(Misconfigured, match=r"PROBABILITIES: .*'label' or 'all', got 'none'"):
        load_settings({**AZURITE, "PROBABILITIES": "none"})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("FEATURES", "temp,temp", "expected as-in-file, or different names such as temp,amps,flow, got 'temp,temp'"),
        ("GAPS", "fill", "'give' or 'drop', got 'fill'"),
        ("MISSING_VALUES", "none", "expected numbers such as -999,65535, got 'none'"),
        ("READINGS_CSV", "separator=;,", "expected such as separator=semicolon,decimal=comma,comment=#, got"),
    ],
)
def test_a_setting_of_features_or_gaps_that_makes_no_sense_is_refused(name: str, value: str, message: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        load_settings({**AZURITE, name: value})
    assert f"{name}: " in str(caught.value)
    assert message in str(caught.value)


def test_names_are_those_of_the_environment() -> None:
    assert {"STORAGE", "SCHEDULE", "HEARTBEAT", "CHUNK_SIZE"} <= set(list_names())
