"""Whatever a model does to the process that scores it: it is named, and no other model is."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.linear_model import SGDOneClassSVM
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MaxAbsScaler,
    Normalizer,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
)
from sklearn.svm import OneClassSVM

from scorer.estimators.score_model import score_model_file
from scorer.predictions.outcome import ModelOutcome
from scorer.sandbox.pool import WorkerPool
from scorer.sandbox.requests import REQUEST_MODELS, Item
from shared.contract.errors import Unavailable
from shared.contract.reasons import Reason
from tests.patience import patience
from tests.sandboxed import needs_sandbox
from tests.scorer.fleets import DETECTORS
from tests.scorer.sandbox import misdeeds
from tests.scorer.sandbox.misdeeds import item

PATIENCE = patience(3)  # an innocent model takes a thousandth of it, one that eats 300 MiB half a second
MEMORY = 300 * 2**20


@pytest.fixture(scope="module")
def children() -> Iterator[WorkerPool]:
    """Three lanes, so that those who wait for their end do it at the same time."""
    with WorkerPool(3, timeout=PATIENCE, memory=MEMORY, scoring=misdeeds.scoring) as three:
        yield three


UNUSABLE = "its process gave no usable reply"
POISON = {
    "hang": (Reason.ENDLESS, f"did not end within {PATIENCE} s"),
    "eat": (Reason.CRASHED, "took more than 300 MiB of memory"),
    "start-threads": (Reason.CRASHED, "started more than 64 threads"),
    "exit-0": (Reason.CRASHED, "its process ended with exit code 0"),
    "exit-3": (Reason.CRASHED, "its process ended with exit code 3"),
    "abort": (Reason.CRASHED, "its process ended by SIGABRT"),
    "hang-in-c": (Reason.ENDLESS, f"did not end within {PATIENCE} s"),
    "kill": (Reason.CRASHED, "its process ended by SIGKILL"),
    "signal-35": (Reason.CRASHED, "its process ended by signal 35"),
    "segfault": (Reason.CRASHED, "its process ended by SIGSEGV"),
    "hang-up": (Reason.CRASHED, "its process closed its pipe and continued"),
    "garbage": (
        Reason.CRASHED,
        f"{UNUSABLE}: expected at most 327528 bytes, got a frame of {2**64 - 1}",
    ),
    "stop": (Reason.ENDLESS, f"did not end within {PATIENCE} s"),
    "half-an-answer": (Reason.CRASHED, "its process ended with exit code 1"),
    "endless-answer": (
        Reason.CRASHED,
        f"{UNUSABLE}: expected at most 327528 bytes, got a frame of {2**40}",
    ),
    "no-json": (
        Reason.CRASHED,
        f"{UNUSABLE}: Expecting value: line 1 column 1 (char 0)",
    ),
    "pickle": (
        Reason.CRASHED,
        f"{UNUSABLE}: 'utf-8' codec can't decode byte 0x80 in position 0: invalid start byte",
    ),
    "another": (Reason.CRASHED, "its process replied to another request"),
    "as-the-supervisor": (Reason.CRASHED, f"{UNUSABLE}: a frame of kind 4"),
    "blame-the-first": (Reason.CRASHED, "its process ended with exit code 3"),
    "blame-nobody": (Reason.CRASHED, "its process ended with exit code 3"),
}
FAILED = {
    "leave": "SystemExit: 42",
    "interrupt": "KeyboardInterrupt:",
    "eat-at-once": "MemoryError:",
    "fork": "PermissionError: [Errno 1] Operation not permitted",
}


@needs_sandbox
def test_each_poison_model_is_named_with_its_etag_and_each_neighbour_is_scored(
    children: WorkerPool, caplog: pytest.LogCaptureFixture
) -> None:
    names = [name for bad in (*POISON, *FAILED) for name in (bad, f"after-{bad}")]
    names.remove("after-hang")  # two in a row, right at the beginning
    names.remove("after-fork")  # and one is the last of all

    ended = list(children.score_items(item(name) for name in names))

    blamed = {name: (reason, f"{how}, when it was tried again alone") for name, (reason, how) in POISON.items()}
    blamed |= {name: (Reason.ESTIMATOR_ERROR, how) for name, how in FAILED.items()}
    assert [(v.model, v.reason, v.message) for v in (one.result for one in ended)] == [
        (name, *blamed.get(name, (None, ""))) for name in names
    ]
    assert [v.rows for v in (one.result for one in ended)] == [int(name not in blamed) for name in names]
    assert {v.etag for v in (one.result for one in ended)} == {"etag"}  # it is not what was planned
    assert [line for line in caplog.messages if "exit-3" in line and "after" not in line] == [
        (
            "worker process ended at model=exit-3: its process ended with exit code 3; "
            "trying the model alone in a fresh one"
        ),
        "worker process ended at model=exit-3 alone: its process ended with exit code 3; the model is the cause",
    ]


def scored_by(one: ModelOutcome) -> int:
    """The process that has scored it."""
    assert one.predictions
    return int(one.predictions.score[0])


@pytest.fixture(scope="module")
def lane() -> Iterator[WorkerPool]:
    """One lane, so that all models come to the same child as long as it lives."""
    with WorkerPool(1, timeout=20.0, scoring=misdeeds.scoring) as one:
        yield one


def test_a_child_goes_on_until_it_dies_and_its_death_is_not_the_fault_of_a_model_that_ends_well_alone(
    lane: WorkerPool,
) -> None:
    requests = (("a",), ("b",), ("c", "not-alone", "d"), ("e",))
    a, b, _, alone, d, e = (scored_by(one) for names in requests for one in lane.score_items(map(item, names)))

    assert a == b
    assert d == e
    assert len({b, alone, d}) == 3  # after a death the rest of a request goes to a fresh one


def test_only_the_model_that_ends_its_process_is_suspected(lane: WorkerPool, caplog: pytest.LogCaptureFixture) -> None:
    """Replies of the models before it may be lost with the process: those are scored again, together."""
    ended = list(lane.score_items(map(item, ("a", "b", "c", "exit-3", "d", "exit-0", "e"))))

    assert [one.result.model for one in ended if one.result.reason] == ["exit-3", "exit-0"]
    assert len(caplog.messages) == 4
    assert not [line for line in caplog.messages if "model=exit" not in line]


def test_a_process_that_blames_another_model_delays_that_one_only(
    lane: WorkerPool, caplog: pytest.LogCaptureFixture
) -> None:
    ended = list(lane.score_items(map(item, ("a", "b", "blame-the-first", "c"))))

    assert [one.result.model for one in ended if one.result.reason] == ["blame-the-first"]
    assert [line.partition(":")[0] for line in caplog.messages] == [
        f"worker process ended at model={where}" for where in ("a", "blame-the-first", "blame-the-first alone")
    ]


def test_replies_of_small_models_come_together_and_long_ones_at_once(lane: WorkerPool) -> None:
    names = [f"small-{number}" for number in range(3 * REQUEST_MODELS)]
    values = np.zeros((2**15, 3))  # its request has more bytes than a pipe holds
    items = [item(name, values=values if number % 40 == 0 else None) for number, name in enumerate(names)]

    ended = list(lane.score_items(items))

    assert [one.result.model for one in ended] == names
    assert len(set(map(scored_by, ended))) == 1


def test_a_child_that_has_said_more_than_it_was_asked_gets_no_other_model(lane: WorkerPool) -> None:
    first, second = map(scored_by, lane.score_items(map(item, ("twice", "after"))))

    assert first != second


def test_a_child_that_says_what_cannot_be_true_is_replaced_before_anything_else_is_asked(lane: WorkerPool) -> None:
    *_, mended = lane.score_items(map(item, ("first", "untrue-unless-first")))
    *_, untrue, following = lane.score_items(map(item, ("first", "untrue", "how-many")))

    assert mended.result.reason is None
    assert untrue.result.reason is Reason.CRASHED
    assert scored_by(following) == 1


def test_a_child_that_died_between_two_models_is_replaced_and_nobody_is_suspected(
    lane: WorkerPool, caplog: pytest.LogCaptureFixture
) -> None:
    (before,) = map(scored_by, lane.score_items([item("before")]))
    os.kill(before, 9)
    wait_for(lambda: not is_alive(before))
    (after,) = lane.score_items([item("after")])

    assert scored_by(after) != before
    assert caplog.messages == []


def test_what_a_child_prints_is_heard_by_nobody(lane: WorkerPool, capfd: pytest.CaptureFixture[str]) -> None:
    (one,) = lane.score_items([item("shout")])

    assert one.result.reason is None
    assert capfd.readouterr() == ("", "")


FRONTS = [
    PCA(2),
    PowerTransformer(),
    QuantileTransformer(n_quantiles=20),
    Nystroem(n_components=20, random_state=0),
    RBFSampler(random_state=0),
    SimpleImputer(),
    KBinsDiscretizer(4, encode="ordinal", quantile_method="averaged_inverted_cdf"),
    PolynomialFeatures(2),
    MaxAbsScaler(),
    Normalizer(),
    VarianceThreshold(),
]
KEPT = {
    **{f"{type(front).__name__}, OneClassSVM": make_pipeline(front, OneClassSVM(nu=0.1)) for front in FRONTS},
    "Nystroem, SGDOneClassSVM": make_pipeline(Nystroem(n_components=20, random_state=0), SGDOneClassSVM(nu=0.1)),
    "kd_tree": LocalOutlierFactor(novelty=True, algorithm="kd_tree"),
    "ball_tree": LocalOutlierFactor(novelty=True, algorithm="ball_tree"),
    "brute": LocalOutlierFactor(novelty=True, algorithm="brute"),
    "neighbours in parallel": LocalOutlierFactor(novelty=True, n_jobs=-1),
    "forest in parallel": IsolationForest(n_estimators=10, n_jobs=4, random_state=0),
    **DETECTORS,
}


def test_children_score_as_scikit_learn_does_outside(children: WorkerPool, normal: np.ndarray) -> None:
    normal = normal + np.linspace(0, 1, normal.size).reshape(normal.shape)
    frame = pd.DataFrame(normal, columns=["c", "b", "a"])
    files = {}
    for name, model in KEPT.items():
        files[f"{name}, pickle"] = pickle.dumps(clone(model).fit(normal))
        if "SimpleImputer" not in name:  # its skops file holds a type that is on nobody's list of trusted ones
            files[f"{name}, skops"] = skops.io.dumps(clone(model).fit(normal))
        files[f"{name}, named"] = pickle.dumps(clone(model).fit(frame))
    files |= {"corrupt": b"\x80\x04.", "hostile": pickle.dumps(misdeeds.Bomb())}
    items = [item(name, data, normal[:50] * 1.05) for name, data in files.items()]

    inside, outside = list(children.score_items(items)), [score_model_file(*each) for each in items]

    assert [one.result for one in inside] == [one.result for one in outside]
    assert [one.result.model for one in inside if one.result.reason] == ["corrupt", "hostile"]
    for a, b in zip(inside, outside, strict=True):
        if not (a.predictions and b.predictions):
            continue
        assert (a.left_out, a.repeated, a.made_by) == (b.left_out, b.repeated, b.made_by)
        assert a.predictions.time.tolist() == b.predictions.time.tolist()
        assert a.predictions.anomaly.tolist() == b.predictions.anomaly.tolist()
        np.testing.assert_allclose(a.predictions.score, b.predictions.score, rtol=1e-9, atol=1e-12)


def test_the_value_of_a_model_with_one_feature_comes_back(children: WorkerPool) -> None:
    values = np.linspace(-3, 3, 61).reshape(-1, 1)
    file = pickle.dumps(OneClassSVM(nu=0.1).fit(values))
    model, content, _ = item("one", file)

    (one,) = children.score_items([(model, content, misdeeds.readings("one", values, ("a",)))])

    assert one.predictions
    assert one.predictions.value is not None
    assert one.predictions.value.tolist() == values[:, 0].tolist()


def test_three_of_300_models_each_kill_their_process_in_another_way(children: WorkerPool, normal: np.ndarray) -> None:
    file = pickle.dumps(OneClassSVM(nu=0.1).fit(normal))
    items = [item(f"m{i}", file) for i in range(300)]
    for place, deed in ((0, "abort"), (137, "segfault"), (299, "exit-3")):
        items[place] = item(deed)

    ended = list(children.score_items(items))

    assert [one.result.model for one in ended] == [model.id for model, *_ in items]
    assert {v.model: v.reason for v in (one.result for one in ended) if v.reason} == dict.fromkeys(
        ("abort", "segfault", "exit-3"), Reason.CRASHED
    )


def test_a_model_without_a_file_fails_by_what_went_wrong_and_needs_no_child() -> None:
    model, _, found = item("a")

    with WorkerPool(2) as two:
        (one,) = two.score_items([(model, OSError("no such disk"), found)])

        assert two._processes == []
    assert (one.result.reason, one.result.message) == (Reason.ESTIMATOR_ERROR, "OSError: no such disk")


def test_the_first_keeper_that_is_lost_is_replaced_and_the_second_is_no_models_fault() -> None:
    with WorkerPool(1, scoring=misdeeds.scoring) as one:
        (first,) = map(scored_by, one.score_items([item("a")]))
        kill_and_all_under_it(one, first)
        (second,) = map(scored_by, one.score_items([item("b")]))
        kill_and_all_under_it(one, second)

        with pytest.raises(Unavailable, match="the process that supervises the workers was lost at model=c"):
            list(one.score_items([item("c")]))
    assert first != second


def kill_and_all_under_it(children: WorkerPool, child: int) -> None:
    keeper = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])
    children._processes[-1].kill()
    wait_for(lambda: not is_alive(keeper) and not is_alive(child))


def test_nothing_is_left_when_the_context_ends_though_a_child_is_at_work() -> None:
    def items() -> Iterator[Item]:
        yield from (
            item("hang") for _ in range(REQUEST_MODELS + 1)
        )  # the first of them are on their way when the last is taken
        wait_for(lambda: is_busy(pids[0]))
        raise InterruptedError

    open_before = sorted(Path("/proc/self/fd").iterdir())
    with WorkerPool(1, scoring=misdeeds.scoring) as one:
        pids = [*map(scored_by, one.score_items([item("a")])), one._processes[0].pid]
        with pytest.raises(InterruptedError):
            list(one.score_items(items()))

    wait_for(lambda: not any(map(is_alive, pids)))
    assert sorted(Path("/proc/self/fd").iterdir()) == open_before
    assert len(one._processes) == 1  # what was killed here was not taken for a loss


NODE = """
import sys
sys.path[:0] = {path!r}
from tests.scorer.sandbox import misdeeds
from scorer.sandbox.pool import WorkerPool
with WorkerPool(1, scoring=misdeeds.scoring) as workers:
    for name in ("a", "hang"):
        for one in workers.score_items([misdeeds.item(name)]):
            print(int(one.predictions.score[0]), workers._processes[0].pid, flush=True)
"""


def test_no_process_outlives_a_node_that_is_killed() -> None:
    command = [sys.executable, "-c", NODE.format(path=sys.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as node:
        assert node.stdout
        pids = [int(pid) for pid in node.stdout.readline().split()]
        wait_for(lambda: is_busy(pids[0]))
        node.kill()

    wait_for(lambda: not any(map(is_alive, pids)))


def wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_busy(pid: int) -> bool:
    """Whether a child is at what expected a footer: nothing else here takes half a second."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return int(user) + int(system) > os.sysconf("SC_CLK_TCK") // 2


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
