"""Machine code of kernels is kept in files; what is damaged, another machine's or another user's is never loaded."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.svm import OneClassSVM

from scorer.kernels import dispatch
from scorer.kernels.native import backend, code_files, loader, target
from scorer.kernels.native.signatures import KERNELS, SCORE_MODELS, ArrayType, Kernel
from shared.contract.errors import Misconfigured
from tests.scorer.kernels.batches_by_hand import batch_of, by_hand

ROOT = Path(__file__).parents[3]
NUMBERS = ArrayType(np.dtype("f8"), is_written=True)
SMALL = Kernel("double_numbers", "small", (ArrayType(np.dtype("f8")), NUMBERS))
SOURCE = """
import math
from scorer.kernels.numba_arithmetic import plain
@plain
def _double(x):
    return x + x
def double_numbers(begin, end, numbers, results):
    for i in range(begin, end):
        results[i] = _double(numbers[begin:end][i - begin]) + math.log1p(0.0 * numbers[i])
"""


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "scorer")  # the desk quiets it, for good, wherever it was called before


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel that compiles at once, and a folder for its code; nothing is loaded yet."""
    (tmp_path / "small.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "small", raising=False)
    monkeypatch.setattr(code_files, "list_folders", lambda: [tmp_path / "code"])
    monkeypatch.setattr(backend, "_functions", {})
    return tmp_path / "code"


def double(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What a process gets that begins now."""
    monkeypatch.setattr(backend, "_functions", {})
    numbers, results = np.arange(1.0, 5.0), np.zeros(4)
    backend.load_kernel(SMALL)(1, 4, numbers, results)
    return list(results)


DOUBLED = [0.0, 4.0, 6.0, 8.0]


def test_code_is_compiled_once_and_loaded_without_numba(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert double(monkeypatch) == DOUBLED
    assert caplog.messages == ["kernels are compiled, which takes some seconds: double_numbers"]
    caplog.clear()
    monkeypatch.setitem(sys.modules, "scorer.kernels.numba_compiler", None)
    assert double(monkeypatch) == DOUBLED
    assert caplog.messages == []
    [file] = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o644 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def spoil_head(**changes: str) -> Callable[[Path], None]:
    """A file that says of itself that it was made otherwise."""

    def spoil(file: Path) -> None:
        head, _, code = file.read_bytes().partition(b"\n")
        file.write_bytes(json.dumps({**json.loads(head), **changes}).encode() + b"\n" + code)

    return spoil


def cut_file(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-500] ^= 1
    file.write_bytes(data)


def let_others_write(file: Path) -> None:
    file.chmod(0o666)


def give_away(file: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(file, 12345, 12345)


def make_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize(
    "spoil",
    [
        cut_file,
        flip_bit,
        let_others_write,
        give_away,
        make_pipe,
        lambda file: file.write_bytes(b""),
        spoil_head(numba="0.1.0"),
        spoil_head(llvmlite="0.1.0"),
        spoil_head(python="3.1.0"),
        spoil_head(cpu="x86-64-v9"),
        spoil_head(features="+amx"),
        spoil_head(triple="aarch64-unknown-linux-gnu"),
        spoil_head(sources="0"),
        spoil_head(kernel="halve_numbers"),
        spoil_head(arguments="ptr"),
    ],
)
def test_code_that_does_not_fit_is_not_loaded_but_replaced(
    folder: Path, spoil: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    double(monkeypatch)
    [file] = folder.iterdir()
    spoil(file)
    spoilt = b"" if spoil is make_pipe else file.read_bytes()
    caplog.clear()
    loaded: list[bytes] = []
    load = loader.load_function
    monkeypatch.setattr(backend, "load_function", lambda kernel, code: loaded.append(code) or load(kernel, code))
    assert double(monkeypatch) == DOUBLED
    assert "kernels are compiled, which takes some seconds: double_numbers" in caplog.messages
    assert loaded == [backend.read_code(SMALL, target.choose_target())]
    assert spoilt != file.read_bytes()
    assert not file.stat().st_mode & 0o22
    assert file.stat().st_uid == os.geteuid()


def test_where_the_first_folder_cannot_be_written_the_next_is_used(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(code_files, "list_folders", lambda: [tmp_path / "file" / "code", folder])
    assert double(monkeypatch) == DOUBLED
    assert len(list(folder.iterdir())) == 1
    monkeypatch.setitem(sys.modules, "scorer.kernels.numba_compiler", None)
    monkeypatch.setattr(code_files, "list_folders", lambda: [tmp_path, folder])
    assert double(monkeypatch) == DOUBLED


@pytest.mark.usefixtures("folder")
def test_no_folder_to_write_to_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(code_files, "list_folders", lambda: [tmp_path / "file" / "code"])
    assert double(monkeypatch) == DOUBLED
    assert "compiled kernels cannot be kept, each process compiles them" in caplog.text


def test_the_folders_are_the_named_one_that_of_the_code_and_the_user_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/named")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    in_tree = ROOT / "scorer" / "kernels" / "__pycache__"
    assert code_files.list_folders() == [Path("/named"), in_tree, Path("/cache/fleetscore")]
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    assert code_files.list_folders() == [in_tree, Path("/cache/fleetscore")]


@pytest.mark.parametrize("problem", ["arguments", "calls"])
def test_a_numba_that_compiles_otherwise_serves_its_own_process(
    folder: Path, problem: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from scorer.kernels import numba_compiler

    if problem == "arguments":
        monkeypatch.setattr(Kernel, "list_llvm_types", lambda _: ["ptr"])
    else:
        monkeypatch.setattr(numba_compiler, "CALLED", ())
    assert double(monkeypatch) == DOUBLED
    assert "compiled kernels cannot be kept, each process compiles them: expected" in caplog.text
    assert not folder.exists()


@pytest.mark.usefixtures("folder")
def test_code_that_llvm_does_not_load_is_compiled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loader, "CALLED", ("no_function_of_the_c_library",))
    assert double(monkeypatch) == DOUBLED
    assert "cannot be used: expected the C library's no_function_of_the_c_library, found none" in caplog.text


@pytest.mark.usefixtures("folder")
def test_code_for_a_processor_that_this_machine_is_not_is_kept_and_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = target.choose_target()
    monkeypatch.setattr(target, "LEVELS", {(chosen.cpu, chosen.features): ("no_feature",)})
    with pytest.raises(ImportError, match=f"this machine is no {chosen.cpu}, "):
        backend.load_kernel(SMALL)
    assert dispatch.choose_backend() == "numpy"
    monkeypatch.undo()
    assert dispatch.choose_backend() == "numba"


def test_numpy_serves_where_there_is_neither_code_nor_numba(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scorer.kernels.numba_compiler", None)
    assert (dispatch.choose_backend(), dispatch.get_backend()) == ("numpy", "numpy")
    with pytest.raises(Misconfigured, match="numba cannot be used here"):
        dispatch.choose_backend("numba")
    with pytest.raises(Misconfigured, match="numba cannot be used here"):
        dispatch.compile_kernels("numba")
    dispatch.compile_kernels()
    assert not folder.exists()
    monkeypatch.undo()
    assert dispatch.choose_backend() == "numba"


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(4, "f4"), "expected a contiguous array float64"),
        (np.zeros(8)[::2], "expected a contiguous array float64"),
        (np.zeros((2, 2)), "expected a contiguous array float64"),
        (np.frombuffer(bytes(32)), "to be written"),
    ],
)
def test_only_arrays_of_the_right_type_are_given_to_machine_code(array: np.ndarray, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        NUMBERS.read_fields(array)


def test_both_roads_give_the_same_bytes() -> None:
    """As compiled in this process by numba, and from the file."""
    from scorer.kernels import numba_compiler

    random = np.random.default_rng(3)
    models = [by_hand(OneClassSVM(nu=0.4, kernel=kind).fit(random.normal(size=(90, 4)))) for kind in ("rbf", "sigmoid")]
    batch, _, total = batch_of(models, [random.normal(size=(333, 4))] * 2)
    dispatch.choose_backend("numba")
    scores, anomalies = dispatch.score_batch(batch, total, 1)
    compiled = numba_compiler.compile_kernel(SCORE_MODELS, target.choose_target())
    before, backend._functions[SCORE_MODELS.name] = backend._functions[SCORE_MODELS.name], compiled
    try:
        again = dispatch.score_batch(batch, total, 1)
    finally:
        backend._functions[SCORE_MODELS.name] = before
    assert (again[0].tobytes(), again[1].tobytes()) == (scores.tobytes(), anomalies.tobytes())
    assert scores.all()


def run_python(code: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE, env={**os.environ, **environment}
    )


def test_two_processes_that_compile_at_the_same_time_leave_one_good_file(folder: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(folder.parent)!r})\n"
        "import numpy as np\n"
        "from scorer.kernels.native import backend\n"
        "from scorer.kernels.native.signatures import ArrayType, Kernel\n"
        f"kernel = Kernel('double_numbers', 'small', (ArrayType(np.dtype('f8')), ArrayType(np.dtype('f8'), 1, True)))\n"
        "results = np.zeros(4)\n"
        "backend.load_kernel(kernel)(1, 4, np.arange(1.0, 5.0), results)\n"
        "print(list(map(float, results)), 'numba' in sys.modules)"
    )
    processes = [run_python(code, NUMBA_CACHE_DIR=str(folder)) for _ in range(2)]
    assert [process.communicate(timeout=120)[0] for process in processes] == [f"{DOUBLED} True\n"] * 2
    assert len(list(folder.iterdir())) == 1
    assert run_python(code, NUMBA_CACHE_DIR=str(folder)).communicate(timeout=120)[0] == f"{DOUBLED} False\n"


def test_all_kernels_can_be_kept_and_their_code_is_what_this_process_loads() -> None:
    dispatch.compile_kernels("numba")
    assert [backend.read_code(kernel, target.choose_target()) is None for kernel in KERNELS] == [False] * len(KERNELS)


@pytest.mark.parametrize("module", ["numba_arithmetic", "numba_outputs", "numba_trees", "numba_backend", "numba_steps"])
def test_whichever_kernels_come_first_are_compiled_for_the_level(module: str) -> None:
    """numba 0.68 takes the features of its target once."""
    code = (
        f"import scorer.kernels.{module}\n"
        "from numba.core.registry import cpu_target; from scorer.kernels.native.target import choose_target\n"
        "_, *found = cpu_target.target_context.codegen().magic_tuple()\n"
        "print(found == [choose_target().cpu, choose_target().features])"
    )
    assert run_python(code).communicate(timeout=120)[0] == "True\n"


def test_the_environment_names_another_processor() -> None:
    code = "from scorer.kernels.native.target import choose_target as c; print(c().cpu, c().features or 'none')"
    named = run_python(code, NUMBA_CPU_NAME="x86-64-v3", NUMBA_CPU_FEATURES="").communicate(timeout=120)[0]
    assert named == "x86-64-v3 none\n"
