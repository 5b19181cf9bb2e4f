"""Objects that hold a booster -> the same as of the booster's own file, whichever library wrote them."""

from __future__ import annotations

from scorer.model_files.parsed import ParsedObject

from . import lightgbm_wrappers, xgboost_wrappers


def read_wrapper(wrapper: ParsedObject) -> ParsedObject:
    """The booster of an object of `estimator_kinds.WRAPPERS`, with the classes of a classifier.

    Raises Unscorable: UNFITTED_MODEL, UNSUPPORTED_MODEL, INCOMPATIBLE_MODEL, TOO_LARGE; LookupError, ValueError and
    such for a broken one.
    """
    is_lightgbm = wrapper.kind.startswith("lightgbm.")
    return lightgbm_wrappers.read_wrapper(wrapper) if is_lightgbm else xgboost_wrappers.read_wrapper(wrapper)
