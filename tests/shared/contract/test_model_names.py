"""The door for ids: which names of model blobs are let in, with which ids, and which are refused.

The two tables are the decision of docs/decisions/0011-ids.md, name by name. What is let in here goes all the way, from
a model's blob to predictions and HTTP: tests/stack/e2e/test_hard_ids.py.
"""
# ruff: noqa: RUF001  # ids that look alike are what this is about

import itertools
import posixpath
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
import pytest
from azure.storage.blob import BlobClient
from hypothesis import example, given
from hypothesis import strategies as st
from obstore.store import MemoryStore
from requests import Request

from scorer.storage.blob_store import open_container
from shared.adapters.azure import table_rows
from shared.contract.domain import Model
from shared.contract.errors import Malformed
from shared.contract.fleet.formats import EXTENSIONS, ModelFormats
from shared.contract.fleet.ignored_files import IgnoredFiles
from shared.contract.fleet.listing import list_fleet
from shared.contract.model_names import (
    ID_LIMIT,
    Blob,
    ModelNames,
    explain_refusal,
    find_id_problem,
    format_name,
)
from shared.contract.reasons import Reason
from shared.state.requests import Quarantined

DOOR = ModelNames()
NFC, NFD = (unicodedata.normalize(form, "Düse Ångström") for form in ("NFC", "NFD"))

# Let in: device and sensor, each under exactly these ids.
IDS = (
    ("pump", ""), ("valve", "heat"),
    # case, and what looks like a number or like nothing
    ("Pump", ""), ("PUMP", ""), ("NA", ""), ("na", ""), ("null", ""), ("NULL", ""),
    ("nan", ""), ("NaN", ""), ("None", ""), ("true", ""), ("False", ""), ("0", ""), ("7", ""), ("007", ""), ("07", ""),
    ("1e5", ""), ("100000", ""), ("1.0", ""), ("-1", ""), ("+1", ""), ("0x1F", ""), ("1_000", ""), ("inf", ""),
    ("2026-11-21", ""), ("2026-11-21T07:00:00Z", ""), ("#N", "A"), ("n", "null"), ("n", "NA"), ("n", "007"),
    # what the readings' columns are called
    ("device", "time"), ("value", "sensor"), ("time", "device"), ("sensor", "value"),
    # dots, dashes, underscores
    ("pump.v2", ""), ("pump.", ""), ("pump...", ""), ("...", ""), (".pump", ""), ("..pump", ""), ("-pump", ""),
    ("--help", ""), ("_pump", ""), ("__pump__", ""), ("a_b", "c_d"), ("model_a_b", ""), ("pump.skops", ""),
    ("pump.pkl", "heat.joblib"), ("dotted", ".heat"), ("dotted", "heat."),
    # what a URL, a shell, a table's key, CSV, JSON, SQL or a web page would take for its own
    ("a%2Fb", ""), ("%2e%2e", ""), ("%2e%2e%2fb", ""), ("100%", ""), ("%", "%"), ("%25", ""), ("a%b", ""),
    ("a%00b", ""),
    ("a#b", "c#d"), ("a?b=c&d", ""), ("a&b", ""), ("a&amp;b", ""), ("a+b", ""), ("a;b", ""), ("a=b", ""), ("=1+1", ""),
    ("*", ""), ("a*b", "?"), ("a|b", ""), ("<b>", ""), ("a<b>c", ""), ("{device}", "{sensor}"), ("[a]", ""),
    ("$HOME", ""),
    ("`ls`", ""), ("a,b", "c,d"), ("a:b", ""), ("C:", "x"), ("@a", ""), ("!a", ""), ("(a)", ""), ("a^b", ""), ("~", ""),
    ("'", ""), ('"', ""), ("a'b", ""), ('a"b', ""), ('""', '"'), ("O’Neill", ""), ("„a“", ""), ("«a»", ""), ("a´b", ""),
    ("'; drop table x; --", ""), ("%s %d {0}", ""), ("\ufeffa", ""), ("a\ufeffb", ""),
    # white space inside
    ("a b", "c d"), ("a  b", ""), ("a\u00a0b", ""), ("a\u3000b", ""), ("a\u2003b", ""),
    # unicode: each normal form is an id of its own
    (NFC, ""), (NFD, ""), ("\ufb01lter", ""), ("filter", ""), ("Ω", ""), ("\u2126", ""), ("a\u0323\u0307", ""),
    ("a\u0307\u0323", ""), ("straße", ""), ("strasse", ""), ("İ", ""), ("ı", ""), ("日本語", "温度"),
    ("насос", ""), ("\u0430", ""), ("a", ""), ("مضخة", ""), ("\u200fמשאבה", ""), ("x\u200ey", ""), ("\u061cx", ""),
    ("x\u200by", ""), ("x\u200cy", ""), ("x\u200dy", ""), ("xy", ""), ("x\u2060y", ""), ("x\u00ady", ""),
    ("\u200b", ""),
    ("😀", "🌡️"), ("👩\u200d🔧", ""), ("🇩🇪", ""), ("𝒳", ""), ("\ue000", ""), ("\U0010fffd", ""), ("\ufdd0", ""),
    ("\U0001fae9", ""),  # younger than the Unicode of Python 3.11
    # devices of other systems, and folders of ours
    ("CON", ""), ("aux", "nul"), ("lost+found", ""), (".git", "config"), ("date=2026-11-21", "hour=07"), ("runs", ""),
    # length
    ("x", ""), ("x" * ID_LIMIT, ""), ("y" * ID_LIMIT, "z" * ID_LIMIT), ("😀" * ID_LIMIT, ""),
)  # fmt: skip

# Refused: the blob's name, and what the message says of it.
REFUSED = (
    (".skops", "is empty"), ("..skops", "a path's dots"), ("...skops", "a path's dots"), ("a/.skops", "is empty"),
    ("/a.skops", "is empty"), ("a//b.skops", "is empty"), ("//.skops", "is empty"),
    ("./a.skops", "a path's dots"), ("../a.skops", "a path's dots"), ("a/../b.skops", "a path's dots"),
    ("a/..skops", "a path's dots"), ("../../etc/passwd.pkl", "a path's dots"),
    ("a/b/c.skops", "matches MODEL_NAMES in no way"),
    ("a./b.skops", "which Azure drops"), (".../b.skops", "which Azure drops"),
    (" a.skops", "white space"), ("a .skops", "white space"), ("a /b.skops", "white space"),
    ("a/ b.skops", "white space"),
    (" .skops", "white space"), ("\u00a0a.skops", "white space"), ("a\u3000.skops", "white space"),
    ("a\\b.skops", "U+005C"), ("..\\a.skops", "U+005C"),
    ("a\x00b.skops", "U+0000"), ("a\x07b.skops", "U+0007"), ("a\tb.skops", "U+0009"), ("a\nb.skops", "U+000A"),
    ("a\rb.skops", "U+000D"), ("a\x1bb.skops", "U+001B"), ("a\x1fb.skops", "U+001F"), ("a\x7fb.skops", "U+007F"),
    ("a\x85b.skops", "U+0085"), ("a\x9fb.skops", "U+009F"), ("a\u2028b.skops", "U+2028"), ("a\u2029b.skops", "U+2029"),
    ("a\ufffeb.skops", "U+FFFE"), ("a\uffffb.skops", "U+FFFF"), ("a\ud800b.skops", "U+D800"),
    ("\udcff.skops", "U+DCFF"),
    ("a\u202eb.skops", "U+202E"), ("a\u202ab.skops", "U+202A"), ("a\u2066b.skops", "U+2066"),
    ("a/\u2069.skops", "U+2069"),
    (f"{'x' * 256}.skops", "has 256 characters"), (f"a/{'x' * 256}.skops", "has 256 characters"),
    (f"{'x' * 1018}.skops", "has 1018 characters"), (f"{'x' * 9999}.skops", "has 9999 characters"),
)  # fmt: skip


def name_of(device: str, sensor: str, extension: str = ".skops") -> str:
    return f"{device}/{sensor}{extension}" if sensor else f"{device}{extension}"


def model_of(name: str, pattern: str = DOOR.pattern) -> Model | None:
    return ModelNames(pattern).parse_model(Blob(name, "e", 5))


def test_the_tables_say_nothing_twice() -> None:
    assert len(set(IDS)) == len(IDS)
    assert len(dict(REFUSED)) == len(REFUSED)
    assert len(IDS) + len(REFUSED) >= 180


@pytest.mark.parametrize(("device", "sensor"), IDS)
def test_a_name_that_is_let_in_gives_exactly_its_ids(device: str, sensor: str) -> None:
    name = name_of(device, sensor)
    found = model_of(name)
    assert found == Model(device, sensor, name, "e")
    assert found.size == 5
    assert format_name(name) == name


@pytest.mark.parametrize(("name", "why"), REFUSED)
def test_a_name_that_is_refused_says_why_in_one_line(name: str, why: str) -> None:
    found = model_of(name)
    assert found == Model(".", format_name(name), name, "e", Reason.BAD_NAME)
    assert found.size == 5
    for line in (explain_refusal(name, ModelFormats()), found.id):
        assert line.splitlines() == [line]
        assert line.encode().decode() == line
    assert why in explain_refusal(name, ModelFormats())


def test_all_names_together_are_as_many_models_and_each_keeps_its_fate() -> None:
    names = sorted([*(name_of(*ids) for ids in IDS), *dict(REFUSED)])
    ignored = IgnoredFiles()
    found = list(list_fleet([Blob(name, "e", 5) for name in names], DOOR, ignored))
    assert ignored == IgnoredFiles()
    assert sorted(model.name for model in found) == names
    assert len({model.id for model in found}) == len(found)
    assert {model.name for model in found if model.refused} == set(dict(REFUSED))


@pytest.mark.parametrize(
    ("pattern", "name", "ids"),
    [
        ("model_{device}_{sensor}", "model_1_2", ("1", "2")),
        ("model_{device}_{sensor}", "model_a-b_c.d", ("a-b", "c.d")),
        ("model_{device}_{sensor}", "model_a_b_c", None),
        ("model_{device}_{sensor}", "model__a_b", ("_a", "b")),
        ("model_{device}_{sensor}", "model_a__b", None),
        ("model_{device}_{sensor}", "model_a_b.", None),
        ("model_{device}_{sensor}", "model_a_..", None),
        ("model_{device}_{sensor}", "model_a_.", None),
        ("model_{device}_{sensor}", "model_a_ b", None),
        ("model_{device}_{sensor}.{ext}", "model_a_b..skops", ("a", "b.")),
        ("{device}[_{sensor}].{ext}", "a.skops", ("a", "")),
        ("{device}[_{sensor}].{ext}", "a_b.skops", None),  # a_b, or b of a?
        ("{device}__{sensor}.{ext}", "a_b__c_d.skops", ("a_b", "c_d")),
        ("{device}__{sensor}.{ext}", "a___b.skops", None),
        ("{device}{sensor}.{ext}", "abc.skops", None),
        ("[{sensor}/]{device}.{ext}", "heat/pump.skops", ("pump", "heat")),
        ("site 7/{device}.{ext}", "site 7/a.skops", ("a", "")),
        ("site 7/{device}.{ext}", "site 7/a/b.skops", None),
        (".{device}", "..", None),
        ("v.{device}/{sensor}", "v.a./b", None),
    ],
)
def test_where_a_pattern_can_split_a_name_in_two_ways_it_is_refused(
    pattern: str, name: str, ids: tuple[str, str] | None
) -> None:
    expected = Model(*ids, name, "e") if ids else Model(".", name, name, "e", Reason.BAD_NAME)
    assert model_of(name, pattern) == expected


@pytest.mark.parametrize("name", ["README", "model_1", "model__1", "models_1_2", "model_1/2", "model_1_2/3", ""])
def test_a_name_without_extension_that_a_pattern_does_not_fit_is_no_model_s(name: str) -> None:
    assert model_of(name, "model_{device}_{sensor}") is None
    assert model_of(f"{name}.pkl", "model_{device}_{sensor}") == Model(
        ".", f"{name}.pkl", f"{name}.pkl", "e", Reason.BAD_NAME
    )


@pytest.mark.parametrize(
    "pattern",
    [
        "[x/]{device}.{ext}",  # x/a and a would be one device
        "{device}[-old].{ext}",
        "{device}[/{sensor}][/x].{ext}",
        "{device}[[/{sensor}]].{ext}",
        "[{device}]{sensor}.{ext}",
        "{device}/{sensor}/{sensor}.{ext}",
        "{device}[/{sensor}][.{sensor}].{ext}",
        "/{device}.{ext}",  # obstore reads a.skops for /a.skops
        "{device}/.{ext}",
        "a//{device}.{ext}",
        "../{device}.{ext}",
        "a/./{device}.{ext}",
        "a./{device}.{ext}",
        "{device}./{sensor}.{ext}",
        "a\\{device}.{ext}",
        "a\n{device}.{ext}",
        "{device}/[{sensor}].{ext}",
        "{device",
        "device}",
        "{device}{",
    ],
)
def test_a_pattern_that_gives_two_names_one_id_or_leaves_its_place_is_malformed(pattern: str) -> None:
    with pytest.raises(Malformed, match="expected a pattern"):
        ModelNames(pattern)


# Properties

ANY = st.text(st.characters(exclude_categories=()), max_size=20)  # surrogates too
AWKWARD = st.text("ab_./\\% \u0301\u202e\n", max_size=8)
SOME = ANY | AWKWARD
PATTERNS = st.sampled_from([
    "{device}[/{sensor}].{ext}", "{device}[/{sensor}]", "model_{device}_{sensor}", "model_{device}_{sensor}.{ext}",
    "{device}[_{sensor}].{ext}", "[{sensor}/]{device}", "{sensor}-{device}.{ext}", "a b/{device}[.{sensor}]",
])  # fmt: skip


def rendered(pattern: str, device: str, sensor: str, extension: str) -> str:
    """The name that a person gives to a model's file, who knows nothing of what is refused."""
    if sensor:
        pattern = pattern.replace("[", "").replace("]", "")
    elif "[" in pattern:
        pattern = pattern[: pattern.index("[")] + pattern[pattern.index("]") + 1 :]
    stem = pattern.removesuffix(".{ext}")
    pieces = {"{device}": device, "{sensor}": sensor}
    name = "".join(pieces.get(piece, piece) for piece in split(stem))
    return name + extension


def split(stem: str) -> Iterator[str]:
    for i, part in enumerate(stem.split("{")):
        head, _, tail = part.partition("}")
        yield from ([f"{{{head}}}", tail] if i else [part])


@given(PATTERNS, SOME, SOME, st.sampled_from(EXTENSIONS))
@example("{device}[/{sensor}].{ext}", "..", "", ".pkl")
@example("{device}[/{sensor}].{ext}", ".", "a", ".pkl")
@example("model_{device}_{sensor}", "a_b", "c", ".pkl")
@example("{device}[/{sensor}].{ext}", "a/b", "", ".pkl")
@example("{device}[/{sensor}].{ext}", "\ufeff", "", ".pkl")
def test_any_ids_come_back_as_they_are_or_are_refused(pattern: str, device: str, sensor: str, extension: str) -> None:
    name = rendered(pattern, device, sensor, extension)
    found = model_of(name, pattern)
    assert found  # it has the ending of a model
    usable = find_id_problem(device) is None and (find_id_problem(sensor) is None or (not sensor and "[" in pattern))
    if found.refused:
        assert found == Model(".", format_name(name), name, "e", Reason.BAD_NAME)
        # A slash can be split in one way only; and Azure drops the dots before it.
        assert not usable or "/{sensor}" not in pattern or (sensor and device.endswith("."))
        return
    assert (found.device, found.sensor) == (device, sensor) or not usable
    assert find_id_problem(found.device) is None
    assert not found.sensor or find_id_problem(found.sensor) is None
    assert found.id.splitlines() == [found.id]
    assert stays(name)


def stays(name: str) -> bool:
    """Whether everything that takes a path finds this one where it is."""
    sent = Request("GET", BlobClient("https://a.blob.core.windows.net", "c", name).url).prepare().url
    store = MemoryStore()
    try:
        obstore.put(store, name, b"")
    except ValueError:
        return False
    return (
        posixpath.normpath(f"/c/{name}") == f"/c/{name}"
        and unquote(urlsplit(str(sent)).path) == f"/c/{name}"
        and [blob["path"] for page in obstore.list(store) for blob in page] == [name]
    )


def test_what_is_let_in_stays_where_it_is_in_every_client() -> None:
    assert [ids for ids in IDS if not stays(name_of(*ids))] == []
    assert not stays("a//b.skops")
    assert not stays("a/../b.skops")


@given(PATTERNS, st.sets(st.tuples(AWKWARD, st.sampled_from(["", *EXTENSIONS])), max_size=12))
def test_two_names_share_an_id_only_if_their_extensions_alone_differ(pattern: str, parts: set[tuple[str, str]]) -> None:
    names = sorted({stem + extension for stem, extension in parts} | {f"model_{stem}{e}" for stem, e in parts})
    found = [model for name in names if (model := model_of(name, pattern))]
    for one, other in itertools.combinations(found, 2):
        if one.id == other.id:
            assert not one.refused
            assert {one.device, one.sensor} == {other.device, other.sensor}
            stems = {next((n.removesuffix(e) for e in EXTENSIONS if n.endswith(e)), n) for n in (one.name, other.name)}
            assert len(stems) == 1


@given(PATTERNS, st.sets(st.tuples(st.text("ab_./-", max_size=4), st.sampled_from(["", *EXTENSIONS])), max_size=12))
def test_of_two_files_of_one_model_neither_is_scored_and_no_model_is_lost(
    pattern: str, parts: set[tuple[str, str]]
) -> None:
    names = sorted({stem + extension for stem, extension in parts} | {f"model_{stem}{e}" for stem, e in parts})
    alone = [model for name in names if (model := model_of(name, pattern))]
    ids = [model.id for model in alone]
    ignored = IgnoredFiles()
    together = list(list_fleet([Blob(name, "e", 5) for name in names], ModelNames(pattern), ignored))
    assert sorted(model.id for model in together) == sorted(set(ids))
    assert len(names) == len(alone) + ignored.count
    for model in together:
        assert (model.refused is Reason.AMBIGUOUS) == (ids.count(model.id) > 1)


@given(SOME, SOME)
def test_two_names_are_never_shown_alike_and_always_in_one_line(one: str, other: str) -> None:
    assert (format_name(one) == format_name(other)) == (one == other)
    assert len(format_name(one).splitlines()) <= 1
    assert format_name(one).encode().decode() == format_name(one)


def test_a_blob_that_is_no_model_s_is_shown_in_one_line_too() -> None:
    ignored = IgnoredFiles()
    assert list(list_fleet([Blob("two\nlines.txt", "e", 5)], DOOR, ignored)) == []
    assert ignored == IgnoredFiles(1, {".txt": 1}, ["two\\nlines.txt"])


# Where ids go


@pytest.mark.parametrize("ids", IDS)
def test_a_row_of_the_ledger_holds_an_id_as_it_is(ids: tuple[str, str]) -> None:
    model = Model(*ids, "", "")
    found = Quarantined(model.id, "e", Reason.CRASHED, f"{model.id!r}", "run", datetime(2026, 11, 21, tzinfo=UTC))
    assert (
        table_rows.load_row(Quarantined, table_rows.dump_row(found, "quarantine", table_rows.make_model_key(model.id)))
        == found
    )


def test_a_folder_holds_every_name_that_fits_into_it(tmp_path: Path) -> None:
    names = [name for ids in IDS for name in [name_of(*ids)] if max(len(p.encode()) for p in name.split("/")) < 256]
    assert len(names) > len(IDS) - 5
    folder = open_container(tmp_path.as_uri())
    for name in names:
        folder.write(name, name.encode())
    assert folder.list("") == sorted(names)
    assert [folder.read(name).data.decode() for name in names] == names
