"""What is a model is decided by the listing alone: folders, files that belong to a model, models, and the rest."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.contract.domain import Model, ModelFile
from shared.contract.errors import Malformed
from shared.contract.fleet import listing
from shared.contract.fleet.formats import ModelFormats
from shared.contract.fleet.ignored_files import IgnoredFiles
from shared.contract.fleet.listing import find_companion, list_fleet
from shared.contract.model_names import Blob, ModelNames, make_files_etag
from shared.contract.reasons import Reason

Fleet = dict[str, tuple[str, Reason | None, tuple[str, ...]]]  # by id: name, refusal, and the files where several


USUAL, JSON_AND_TEXT = ModelFormats(), ModelFormats(("json", "txt"))


def list_names(
    names: list[str], pattern: str = "{device}[/{sensor}].{ext}", formats: ModelFormats = USUAL
) -> tuple[list[Model], IgnoredFiles]:
    ignored = IgnoredFiles()
    blobs = [Blob(name, f"e-{name}", 2) for name in names]
    return list(list_fleet(blobs, ModelNames(pattern, formats), ignored)), ignored


def describe(models: list[Model]) -> Fleet:
    assert len({model.id for model in models}) == len(models)
    return {m.id: (m.name, m.refused, tuple(file.name for file in m.files)) for m in models}


@pytest.mark.parametrize(
    ("names", "fleet"),
    [
        (["a.SKOPS", "b.Joblib.GZ", "c.pkl.xz", "d.pickle.bz2", "e.sav", "f.pkl.z", "g.joblib.lzma"], {
            "a": ("a.SKOPS", None, ()), "b": ("b.Joblib.GZ", None, ()), "c": ("c.pkl.xz", None, ()),
            "d": ("d.pickle.bz2", None, ()), "e": ("e.sav", None, ()), "f": ("f.pkl.z", None, ()),
            "g": ("g.joblib.lzma", None, ()),
        }),
        (["a.features.json", "a.skops", "b.pkl"], {
            "a": ("a.skops", None, ("a.features.json", "a.skops")), "b": ("b.pkl", None, ()),
        }),
        (["a.joblib", "a.features.json"], {"a": ("a.joblib", None, ("a.features.json", "a.joblib"))}),
        (["a/x.features.json", "a/x.pkl"], {"a/x": ("a/x.pkl", None, ("a/x.features.json", "a/x.pkl"))}),
        (["a.features.json"], {}),
        (["a.pkl", "a.pkl.gz"], {"a": ("a.pkl", Reason.AMBIGUOUS, ("a.pkl", "a.pkl.gz"))}),
        (["a.PKL", "a.pkl"], {"a": ("a.PKL", Reason.AMBIGUOUS, ("a.PKL", "a.pkl"))}),
        (["a.scaler.pkl", "a.skops"], {"a": ("a.skops", None, ("a.scaler.pkl", "a.skops"))}),
        (["a.scaler.csv", "a.skops"], {"a": ("a.skops", Reason.UNSUPPORTED_MODEL, ("a.scaler.csv", "a.skops"))}),
        (["a.scaler.pkl", "a.scaler.skops", "a.skops"], {
            "a": ("a.skops", Reason.UNSUPPORTED_MODEL, ("a.scaler.pkl", "a.scaler.skops", "a.skops")),
        }),
        (["a.skops", "a.threshold.json"], {"a": ("a.skops", None, ("a.skops", "a.threshold.json"))}),
        (["a.scaler.pkl"], {"a.scaler": ("a.scaler.pkl", None, ())}),  # of no other model: a model
        (["a/1.csv", "a/MLmodel", "a/conda.yaml", "a/model.pkl"], {
            "a": ("a/MLmodel", None, ("a/1.csv", "a/MLmodel", "a/conda.yaml", "a/model.pkl")),
        }),
        (["a.features.json", "a/MLmodel", "a/model.skops", "b.skops"], {
            "a": ("a/MLmodel", None, ("a.features.json", "a/MLmodel", "a/model.skops")), "b": ("b.skops", None, ()),
        }),
        (["a.skops", "a/MLmodel", "a/model.skops"], {
            "a": ("a.skops", Reason.AMBIGUOUS, ("a.skops", "a/MLmodel", "a/model.skops")),
        }),
        (["a/MLmodel", "a/b/MLmodel", "a/b/model.pkl"], {
            "a": ("a/MLmodel", None, ("a/MLmodel", "a/b/MLmodel", "a/b/model.pkl")),
        }),
        (["a/0/MLmodel", "a/0/model.pkl", "a/MLmodel", "a/z.pkl"], {
            "a": ("a/MLmodel", None, ("a/0/MLmodel", "a/0/model.pkl", "a/MLmodel", "a/z.pkl")),
        }),
        (["a/0.pkl", "a/1/MLmodel", "a/1/model.pkl", "a/2.pkl"], {
            "a/0": ("a/0.pkl", None, ()), "a/1": ("a/1/MLmodel", None, ("a/1/MLmodel", "a/1/model.pkl")),
            "a/2": ("a/2.pkl", None, ()),
        }),
        (["a/b/c/MLmodel", "a/b/c/model.pkl"], {"./a/b/c/MLmodel": ("a/b/c/MLmodel", Reason.BAD_NAME, ())}),
        (["MLmodel", "model.pkl"], {"model": ("model.pkl", None, ())}),
        (["a.json", "b.txt", "c.json.gz"], {}),
    ],
)  # fmt: skip
def test_each_name_is_a_model_or_belongs_to_one_or_is_ignored(names: list[str], fleet: Fleet) -> None:
    models, ignored = list_names(names)
    assert describe(models) == fleet
    whole = [model.refused is not Reason.BAD_NAME for model in models]
    n_files = sum(max(1, len(model.files)) for model in models)
    assert len(names) == n_files + ignored.count or not all(whole)


def test_a_model_of_several_files_has_one_etag_and_the_size_of_all() -> None:
    (model,), _ = list_names(["a.features.json", "a.skops"])
    files = (ModelFile("a.features.json", "e-a.features.json"), ModelFile("a.skops", "e-a.skops"))
    assert (model.files, model.size, model.etag) == (files, 4, make_files_etag(files))
    # SHA-256 of [["a.features.json","e-a.features.json"],["a.skops","e-a.skops"]]
    assert model.etag == "m-07663a3b9c8b0979"
    assert make_files_etag(reversed(files)) == model.etag
    assert len({make_files_etag([files[0], ModelFile(*pair)]) for pair in [("a", "b"), ("a", "c"), ("ab", "")]}) == 3


def test_what_is_ignored_is_counted_by_ending_and_named() -> None:
    names = sorted(["README.txt", "LICENSE", "notes.md", ".hidden", "Makefile", "x.tar.CSV", "a/b.csv", "a.skops"])
    models, ignored = list_names(names)
    assert [model.id for model in models] == ["a"]
    assert ignored == IgnoredFiles(4, {"(none)": 2, ".csv": 2}, [".hidden", "Makefile", "a/b.csv", "x.tar.CSV"])
    assert ignored.describe() == "2 (none), 2 .csv"


def test_the_memory_of_ignored_files_does_not_grow() -> None:
    ignored = IgnoredFiles()
    for number in range(5000):
        ignored.append(f"{'x' * 900}.{number}")
    assert (ignored.count, sum(ignored.by_ending.values())) == (5000, 5000)
    assert ignored.by_ending["(other)"] == 4970
    assert [len(name) for name in ignored.examples] == [200] * 20


def test_a_folder_with_more_files_than_are_held_is_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "HELD_FILES", 3)
    names = ["a.pkl", *(f"a/{number}.pkl" for number in range(5)), "a/MLmodel", "a/x.pkl", "b/MLmodel", "b/model.pkl"]
    models, ignored = list_names(names)
    assert [model.id for model in models] == ["a", "a/0", "a/1", "a/2", "a/3", "a/4", "a/x", "b"]
    assert ignored.examples == ["a/MLmodel"]


@pytest.mark.parametrize(
    ("names", "fleet", "ignored"),
    [
        (["a.json", "b.JSON.gz", "c.Txt", "d.txt.bz2", "e.pkl", "f.csv", "g.onnx"], {
            "a": ("a.json", None, ()), "b": ("b.JSON.gz", None, ()), "c": ("c.Txt", None, ()),
            "d": ("d.txt.bz2", None, ()), "e": ("e.pkl", None, ()),
        }, ["f.csv", "g.onnx"]),
        (["a.json", "a.skops"], {"a": ("a.json", Reason.AMBIGUOUS, ("a.json", "a.skops"))}, []),
        (["a.json", "a.txt.gz"], {"a": ("a.json", Reason.AMBIGUOUS, ("a.json", "a.txt.gz"))}, []),
        (["a.b.pkl", "a.json", "a/MLmodel", "a/model.json"], {
            "a": ("a.json", Reason.AMBIGUOUS, ("a.json", "a/MLmodel", "a/model.json")), "a.b": ("a.b.pkl", None, ()),
        }, []),
        (["a.features.json", "a.json"], {"a": ("a.json", None, ("a.features.json", "a.json"))}, []),
        (["a.json", "a.threshold.json"], {
            "a": ("a.json", None, ("a.json", "a.threshold.json")),
        }, []),
        (["a.json", "a.scaler.json"], {
            "a": ("a.json", Reason.UNSUPPORTED_MODEL, ("a.json", "a.scaler.json")),
        }, []),
        # Of no model, or in another spelling: no model all the same.
        (["a.Features.JSON", "a.features.json", "a.threshold.json", "b.json", "b.threshold.json.gz"], {
            "b": ("b.json", None, ()),
        }, ["a.Features.JSON", "a.features.json", "a.threshold.json", "b.threshold.json.gz"]),
        (["a/MLmodel", "a/input_example.json", "a/model.txt", "a/requirements.txt", "b.txt"], {
            "a": ("a/MLmodel", None, ("a/MLmodel", "a/input_example.json", "a/model.txt", "a/requirements.txt")),
            "b": ("b.txt", None, ()),
        }, []),
        (["LICENSE.txt", "a/README.txt", "readme.pkl"], {"readme": ("readme.pkl", None, ())}, []),
        (["a/b/c.json"], {"./a/b/c.json": ("a/b/c.json", Reason.BAD_NAME, ())}, []),
    ],
)  # fmt: skip
def test_with_a_setting_json_and_text_are_models_and_what_belongs_to_a_model_never_is(
    names: list[str], fleet: Fleet, ignored: list[str]
) -> None:
    models, left_out = list_names(names, formats=JSON_AND_TEXT)
    assert (describe(models), left_out.examples) == (fleet, ignored)


@pytest.mark.parametrize(
    ("formats", "device"), [(USUAL, "a.json"), (ModelFormats(("txt",)), "a.json"), (JSON_AND_TEXT, "a")]
)
def test_under_a_pattern_without_endings_the_setting_says_where_an_id_ends(formats: ModelFormats, device: str) -> None:
    models, ignored = list_names(["model_a.json", "model_a.json.features.json"], "model_{device}", formats)
    own = ("model_a.json", "model_a.json.features.json") if device == "a.json" else ()
    assert describe(models) == {device: ("model_a.json", None, own)}
    assert ignored.examples == ([] if own else ["model_a.json.features.json"])


def test_the_usual_names_of_a_model_are_tried_in_its_place() -> None:
    usual = ["a/x.pkl", "a/x.skops", "a/x.joblib", "a/x.pickle", "a/x.sav", "a/x.lgb", "a/x.ubj"]
    assert USUAL.list_spellings("a/x.pkl") == [*usual, "a/x/MLmodel"]
    assert USUAL.list_spellings("a/MLmodel")[:3] == ["a/MLmodel", "a.skops", "a.joblib"]
    assert USUAL.list_spellings("model_1_2") == ["model_1_2"]
    assert USUAL.list_spellings("a/x.json") == ["a/x.json"]
    assert JSON_AND_TEXT.list_spellings("a/x.pkl") == [*usual, "a/x.json", "a/x.txt", "a/x/MLmodel"]
    assert ModelFormats(("json",)).list_spellings("a/x.JSON.gz")[-2:] == ["a/x.json", "a/x/MLmodel"]


@pytest.mark.parametrize(
    ("text", "further"),
    [("", ()), (" ", ()), ("json", ("json",)), ("txt, json", ("json", "txt")), ("txt,txt", ("txt",))],
)
def test_the_setting_is_a_list_of_formats(text: str, further: tuple[str, ...]) -> None:
    formats = ModelFormats.parse(text)
    assert formats.further == further
    assert ModelFormats.parse(str(formats)) == formats


@pytest.mark.parametrize("text", ["onnx", ".json", "json;txt", "json,", "JSON", "skops", "json,pmml"])
def test_a_format_that_does_not_exist_is_refused_with_those_that_do(text: str) -> None:
    with pytest.raises(Malformed) as caught:
        ModelFormats.parse(text)
    assert str(caught.value) == (
        f"expected json or txt, or both with a comma between them, for models that end in them, got {text!r}; "
        ".skops, .joblib, .pkl, .pickle, .sav, .lgb, .ubj need no setting"
    )


NAMES = st.text("ab/.-0Z", min_size=1, max_size=4)
ENDINGS = [
    "", ".skops", ".pkl", ".PKL", ".pkl.gz", ".features.json", ".threshold.json", ".scaler.csv", ".csv",
    "/MLmodel", "/zz.pkl",
    ".json", ".Txt", ".json.z", ".features.json.gz", ".scaler.json",
]  # fmt: skip


@given(
    st.sampled_from(["{device}[/{sensor}].{ext}", "{device}[/{sensor}]"]),
    st.sampled_from([USUAL, ModelFormats(("json",)), JSON_AND_TEXT]),
    st.sets(st.tuples(NAMES, st.sampled_from(ENDINGS)), max_size=14),
    st.booleans(),
)
def test_a_listing_that_is_read_as_it_comes_says_the_same_as_one_that_is_known_whole(
    pattern: str, formats: ModelFormats, parts: set[tuple[str, str]], by_utf16: bool
) -> None:
    names = {stem + ending for stem, ending in parts}
    assume(not any("//" in name or name.startswith("/") for name in names))  # no store has such names
    key = (lambda name: name.encode("utf-16-be")) if by_utf16 else str
    models, ignored = list_names(sorted(names, key=key), pattern, formats)
    expected, n_ignored = list_whole(names, ModelNames(pattern, formats))
    assert {
        m.id: (m.refused, set() if m.refused is Reason.BAD_NAME else {file.name for file in m.files} or {m.name})
        for m in models
    } == expected
    assert len(models) == len(expected)
    assert ignored.count == n_ignored


def list_whole(names: set[str], parser: ModelNames) -> tuple[dict[str, tuple[Reason | None, set[str]]], int]:
    """The models by id, and how many names are ignored, by the rules alone."""
    rest = set(names)
    entries: list[tuple[str, Model, set[str]]] = []  # stem, model, files
    for name in sorted(names, key=len):
        folder, _, base = name.rpartition("/")
        if folder and base == "MLmodel" and name in rest:
            below = {other for other in rest if other.startswith(f"{folder}/")}
            rest -= below
            entries.append((folder, parser.parse_folder(folder, Blob(name, "", 0)), below))
    companions = {name for name in rest if find_companion(name)}
    n_ignored = 0
    for name in sorted(rest - companions) + sorted(companions, key=len):
        stem = find_companion(name)
        owner = next((entry for entry in entries if stem and entry[0] == stem[0]), None)
        if owner:
            owner[2].add(name)
        elif name.removesuffix(".gz").endswith((".features.json", ".threshold.json")):
            n_ignored += 1
        elif model := parser.parse_model(Blob(name, "", 0)):
            entries.append((name.removesuffix(parser.formats.split_extension(name)), model, {name}))
        else:
            n_ignored += 1
    fleet: dict[str, tuple[Reason | None, set[str]]] = {}
    for _, model, files in sorted(entries, key=lambda entry: entry[1].name):
        if model.id in fleet:
            fleet[model.id] = fleet[model.id][0] or Reason.AMBIGUOUS, fleet[model.id][1] | files
        else:
            fleet[model.id] = model.refused, files
    return {model_id: refuse(*entry) for model_id, entry in fleet.items()}, n_ignored


def refuse(refused: Reason | None, files: set[str]) -> tuple[Reason | None, set[str]]:
    """Nothing of a model without an id is read, and a model with a scaler of an unknown format is not supported."""
    if refused is Reason.BAD_NAME:
        return refused, set()
    companions = [name for name in files if find_companion(name)]
    has_scaler = len(files) > 1 and any(name.endswith((".scaler.csv", ".scaler.json")) for name in companions)
    return refused or (Reason.UNSUPPORTED_MODEL if has_scaler else None), files


def test_pairs_of_rivals_are_found_wherever_they_stand() -> None:
    endings = [".skops", ".PKL", ".pkl.gz", "/MLmodel"]
    for one, other in itertools.combinations(endings, 2):
        names = sorted([f"a{one}", f"a{other}", "a-1.pkl", "a.b.pkl", "a0.pkl"])
        fleet = describe(list_names(names)[0])
        assert fleet["a"][1] is Reason.AMBIGUOUS
        assert len(fleet) == 4
