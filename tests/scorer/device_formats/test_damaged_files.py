"""Of a damaged file nothing is written, and the message says so in one line. What is cut is never taken for whole."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import numpy as np
import pytest

from scorer.device_formats.libraries import translate_errors
from scorer.device_formats.mdf4_process import Mdf4Process
from scorer.device_formats.options import FormatOptions
from scorer.device_formats.series import Catalogue
from shared.contract.errors import Malformed, Misconfigured
from tests.scorer.device_formats.converting import make_channel, make_signal, read_readings, run, write_mdf, write_tdms

T = 1_795_244_400  # 2026-11-21T07:00:00Z


def write_senml(path: Path) -> Path:
    records = ",".join(f'{{"n":"pump1:temp","t":{T + i},"v":{i}}}' for i in range(5))
    path.write_text(f"[{records}]")
    return path


def write_lines(path: Path) -> Path:
    path.write_text(f'm,device=pump1 temp=1.5,note="a b" {T}000000000\n')
    return path


def write_recording(path: Path) -> Path:
    values = np.arange(50.0)
    flow = make_signal("flow", values, invalidation_bits=values % 2 == 0)
    return write_mdf(path, [make_signal("temp", values), flow], [make_signal("x", np.arange(20, dtype=np.uint8))])


def write_waveforms(path: Path) -> Path:
    return write_tdms(path, [make_channel("temp", np.arange(50.0)), make_channel("flow", np.arange(50.0))])


WRITERS = {"a.json": write_senml, "a.lp": write_lines, "a.mf4": write_recording, "a.tdms": write_waveforms}


@pytest.mark.parametrize(("name", "step"), [("a.json", 1), ("a.lp", 1), ("a.mf4", 499), ("a.tdms", 29)])
def test_a_file_that_was_cut_anywhere_is_refused(
    tmp_path: Path, name: str, step: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path, target = WRITERS[name](tmp_path / name), tmp_path / "readings"
    data = path.read_bytes()
    whole = data.rstrip(b"\n")
    for size in [*range(0, len(whole), step), len(whole) - 1]:
        path.write_bytes(data[:size])
        assert (size, run(path, "--into", target)) == (size, 2)
        error = capsys.readouterr().err
        assert error.startswith("scorer: ")
        assert error.count("\n") == 1
        assert "expected" in error
        assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("name", "rounds"), [("a.json", 200), ("a.lp", 200), ("a.mf4", 6), ("a.tdms", 100)])
def test_a_file_with_changed_bytes_is_refused_or_read(
    tmp_path: Path, name: str, rounds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path, draw = WRITERS[name](tmp_path / name), random.Random(7)
    data = path.read_bytes()
    for number in range(rounds):
        changed = bytearray(data)
        for _ in range(draw.choice([1, 4])):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        path.write_bytes(changed)
        target = tmp_path / str(number)
        code = run(path, "--into", target)
        assert (code, target.exists()) in ((0, True), (2, False))
        if code == 0:
            read_readings(target)
        else:
            assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "head", [b"", b"MDF     4.10    ", b"TDSm", b"[", b'[{"n":"', b"m,device=a x=", b"UnFinMF 4.10"]
)
def test_noise_is_refused(tmp_path: Path, head: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "noise"
    path.write_bytes(head + random.Random(3).randbytes(3000))
    assert run(path, "--into", tmp_path / "readings") == 2
    assert "expected" in capsys.readouterr().err
    assert not (tmp_path / "readings").exists()


def test_one_damaged_file_of_many_is_named_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for name, write in WRITERS.items():
        write(folder / name)
    (folder / "b.json").write_text('[{"n":"pump2:temp"')
    assert run(folder, "--into", tmp_path / "readings") == 2
    assert f"{folder / 'b.json'} (senml): expected a record in JSON" in capsys.readouterr().err
    assert not (tmp_path / "readings").exists()


def test_a_library_that_ends_its_process_does_not_end_ours(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "a.mf4")
    reader = Mdf4Process()
    assert len(list(reader.read_samples(path, FormatOptions(), Catalogue()))) == 3
    assert reader.process
    reader.process.kill()
    with pytest.raises(
        Malformed, match="expected a whole file in MDF4, got one at which its library ended with code -9"
    ):
        list(reader.read_samples(path, FormatOptions(), Catalogue()))
    assert len(list(reader.read_samples(path, FormatOptions(), Catalogue()))) == 3  # in another process
    reader.close()


def test_a_file_that_was_removed_meanwhile_is_named(tmp_path: Path) -> None:
    reader = Mdf4Process()
    with pytest.raises(Misconfigured, match=r"gone\.mf4: No such file or directory"):
        list(reader.read_samples(tmp_path / "gone.mf4", FormatOptions(), Catalogue()))
    reader.close()


def test_a_full_disk_of_temporary_files_is_not_the_fault_of_a_file() -> None:
    with pytest.raises(Misconfigured, match=r"expected space in .* No space left"), translate_errors("MDF4"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_text_that_is_not_utf_8_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.lp"
    path.write_bytes(f"m,device=p\xfcmp x=1 {T}000000000\n".encode("latin-1"))
    assert run(path, "--into", tmp_path / "readings") == 2
    assert "expected text in UTF-8, got other bytes" in capsys.readouterr().err


def test_a_line_without_end_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.lp"
    path.write_text('m,device=a note="' + "x" * 3_000_000)
    assert run(path, "--into", tmp_path / "readings") == 2
    assert "line 1: expected measurement,tags fields timestamp" in capsys.readouterr().err


def test_records_nested_without_end_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"n":' + "[" * 100_000)
    assert run(path, "--into", tmp_path / "readings") == 2
    assert "expected a record in JSON" in capsys.readouterr().err
