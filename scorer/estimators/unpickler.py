"""Unpickles objects that the allow-list names. Only for a process in the sandbox, or the command `convert`."""

from __future__ import annotations

import importlib
import io
import pickle
from collections.abc import Callable
from typing import Any

from scorer.errors import Unscorable
from scorer.model_files.allowlist import CLASSES, FUNCTIONS, MOVED
from shared.contract.reasons import Reason


def get_allowed_global(module: str, name: str) -> Any:
    """The object that a pickle gets for a global. Raises Unscorable."""
    location = MOVED.get(module, module)
    if (location, name) in CLASSES:
        return getattr(importlib.import_module(location), name)
    if (location, name) in FUNCTIONS:
        return _wrap_function(getattr(importlib.import_module(location), name))
    match location, name:
        case "numpy._core.multiarray", "_reconstruct":
            return _wrap_function(_make_empty_array)
        case "numpy", "ndarray":
            return object()
        case "_codecs", "encode":  # how protocol 2 spells bytes
            return _wrap_function(_encode_latin1)
        case "__builtin__", "bytes":
            return _wrap_function(_make_no_bytes)
    raise Unscorable(Reason.UNTRUSTED_MODEL, f"the pickle names {module}.{name}, which is not on the allow-list")


def unpickle_model(data: bytes) -> Any:
    """The object of a pickle or of an uncompressed joblib file. Raises Unscorable, or any error for a broken file."""
    reader = _open_joblib(data) if b"joblib.numpy_pickle" in data else _Pickle(io.BytesIO(data))
    return reader.load()


class _Pickle(pickle.Unpickler):
    """Python's own way to restrict the globals of a pickle: a subclass with `find_class`."""

    def find_class(self, module: str, name: str) -> Any:
        return get_allowed_global(module, name)


def _open_joblib(data: bytes) -> Any:
    """The same for joblib's files, in which the bytes of arrays stand between the opcodes."""
    from joblib.numpy_pickle import NumpyArrayWrapper, NumpyUnpickler

    wrapper = type("NumpyArrayWrapper", (NumpyArrayWrapper,), {})

    class Joblib(NumpyUnpickler):  # type: ignore[misc]  # joblib ships no types
        def find_class(self, module: str, name: str) -> Any:
            is_wrapper = (module, name) == ("joblib.numpy_pickle", "NumpyArrayWrapper")
            return wrapper if is_wrapper else get_allowed_global(module, name)

    return Joblib("", io.BytesIO(data), ensure_native_byte_order=True)


def _wrap_function(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: function(*args)  # noqa: PLW0108  # a new object each time is the point


def _make_empty_array(_subtype: object, _shape: object, _code: object) -> Any:
    import numpy as np

    return np.empty(0, np.int8)  # BUILD gives it type, shape and content, and NumPy checks that they agree


def _make_no_bytes() -> bytes:
    return b""


def _encode_latin1(text: str, _encoding: object) -> bytes:
    return text.encode("latin-1")
