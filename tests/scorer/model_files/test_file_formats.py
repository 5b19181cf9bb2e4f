"""The content of a model file says which reader it needs; its name does not."""

from __future__ import annotations

import pickle
import random

import pytest
import skops.io
from sklearn.svm import OneClassSVM

from scorer.model_files.file_formats import SAMPLE, FileFormat, describe_start, identify_format

SVM = OneClassSVM(nu=0.1).fit([[1.0], [2.0], [3.0]])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (skops.io.dumps(SVM), FileFormat.SKOPS),
        *((pickle.dumps(SVM, protocol), FileFormat.PICKLE) for protocol in (2, 3, 4, 5)),
        *((pickle.dumps(thing, 0), FileFormat.OLD_PICKLE) for thing in (SVM, {"model": SVM}, [SVM])),
        (pickle.dumps(SVM, 1), FileFormat.OLD_PICKLE),
        (b'{"learner":{}}', FileFormat.XGBOOST),
        (b' { "version" : [3, 2, 0]}', FileFormat.XGBOOST),
        (b'{"learner":"x"}', FileFormat.JSON),
        (b"\r\n { }", FileFormat.JSON),
        (b"[-1.5]", FileFormat.JSON),
        (b"[true]", FileFormat.JSON),
        (b"{nu: 0.1}", FileFormat.TEXT),
        (b"[section]\nnu = 1\n", FileFormat.TEXT),
        (b"tree\nversion=v4\n", FileFormat.LIGHTGBM),
        (b"tree\r\nversion=v4\r\n", FileFormat.LIGHTGBM),
        (b"tree\n", FileFormat.LIGHTGBM),
        (b"tree\noak\n", FileFormat.TEXT),
        (b"cell\nvalue\n1\n", FileFormat.TEXT),  # not the GLOBAL of a pickle, which would end with a dot
        (b"<PMML version='4.4'/>", FileFormat.XML),
        (b"  <!doctype HTML>", FileFormat.HTML),
        (b"<html lang='en'>", FileFormat.HTML),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", FileFormat.LFS_POINTER),
        (b"", FileFormat.UNKNOWN),
        (b"{}", FileFormat.UNKNOWN),  # too short to tell
        (b'{"a": "\0"}', FileFormat.UNKNOWN),
        (b"{L\0\0\0\0\0\0\0\x07learner{", FileFormat.XGBOOST),  # UBJSON, its usual format
        (b"{L\0\0\0\0\0\0\0\x07learn", FileFormat.UNKNOWN),
        (b"binf\0\0\0\x3f", FileFormat.XGBOOST_BINARY),
        (bytes(136) + b"\x10\0\0\0\0\0\0\0reg:squarederror", FileFormat.XGBOOST_BINARY),
        (b"\x08\x08\x12\x07skl2onnx", FileFormat.UNKNOWN),
        (b"\xff\xfet\0r\0e\0e\0", FileFormat.UNKNOWN),
    ],
)
def test_the_beginning_of_a_content_says_its_format(data: bytes, expected: FileFormat) -> None:
    assert identify_format(data) is expected


def test_a_letter_that_the_sample_cuts_does_not_make_a_text_binary() -> None:
    for n_bytes in range(SAMPLE - 3, SAMPLE + 3):
        assert identify_format(b"a" * n_bytes + "\u00e6\u20ac".encode() * 9) is FileFormat.TEXT


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b'{"learner":{"attributes":{},"feature_names":[],"x":1}}', """'{"learner":{"attributes":{},"feature_nam'"""),
        (b"a\nb\tc", r"'a\nb\tc'"),
        (b"a\0bcdefghijklmnop", r"b'a\x00bcdefghijk'"),
        ("\u202eabc".encode(), r"'\u202eabc'"),
        (b"", "b''"),
    ],
)
def test_a_message_shows_the_beginning_in_one_line(data: bytes, shown: str) -> None:
    assert describe_start(data) == shown


def test_any_bytes_have_a_format_and_a_beginning_to_show() -> None:
    rng = random.Random(1)
    for _ in range(3000):
        data = rng.choice([b"", b"{", b"<", b"c", b"tree\n", b"\xef\xbb\xbf"]) + rng.randbytes(rng.randrange(12))
        assert identify_format(data) in FileFormat
        assert describe_start(data).isprintable()
