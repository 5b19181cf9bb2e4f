"""Unpickles what the allow-list lets through. Only for a process in the sandbox, or `convert` at a desk."""

from __future__ import annotations

import importlib
import io
import pickle
from collections.abc import Callable
from typing import Any

from scorer.errors import Unscorable
from scorer.model_files.allowlist import CLASSES, FUNCTIONS, MOVED
from shared.contract.domain import Reason


def allowed_global(module: str, name: str) -> Any:
    """What a pickle gets for a global that it names. Raises Unscorable."""
    at = MOVED.get(module, module)
    if (at, name) in CLASSES:
        return getattr(importlib.import_module(at), name)
    if (at, name) in FUNCTIONS:
        return _wrapped(getattr(importlib.import_module(at), name))
    match at, name:
        case "numpy._core.multiarray", "_reconstruct":
            return _wrapped(_empty_array)
        case "numpy", "ndarray":
            return object()
        case "_codecs", "encode":  # how protocol 2 spells bytes
            return _wrapped(_latin1)
        case "__builtin__", "bytes":
            return _wrapped(_no_bytes)
    raise Unscorable(Reason.UNTRUSTED_MODEL, f"the pickle names {module}.{name}, which is not on the allow-list")


def unpickle(data: bytes) -> Any:
    """The object of a pickle or of an uncompressed joblib file. Raises Unscorable, or whatever a broken file makes."""
    reader = _joblib_reader(data) if b"joblib.numpy_pickle" in data else _Pickle(io.BytesIO(data))
    return reader.load()


class _Pickle(pickle.Unpickler):
    """Python's own way to restrict what a pickle may name: a subclass with `find_class`."""

    def find_class(self, module: str, name: str) -> Any:
        return allowed_global(module, name)


def _joblib_reader(data: bytes) -> Any:
    """The same for joblib's files, in which the bytes of arrays lie between the opcodes."""
    from joblib.numpy_pickle import NumpyArrayWrapper, NumpyUnpickler

    wrapper = type("NumpyArrayWrapper", (NumpyArrayWrapper,), {})

    class Joblib(NumpyUnpickler):  # type: ignore[misc]  # joblib ships no types
        def find_class(self, module: str, name: str) -> Any:
            named = (module, name) == ("joblib.numpy_pickle", "NumpyArrayWrapper")
            return wrapper if named else allowed_global(module, name)

    return Joblib("", io.BytesIO(data), ensure_native_byte_order=True)


def _wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: function(*args)  # noqa: PLW0108  # a new object each time is the point


def _empty_array(_subtype: object, _shape: object, _code: object) -> Any:
    import numpy as np

    return np.empty(0, np.int8)  # BUILD gives it type, shape and content, and NumPy checks that they agree


def _no_bytes() -> bytes:
    return b""


def _latin1(text: str, _encoding: object) -> bytes:
    return text.encode("latin-1")
