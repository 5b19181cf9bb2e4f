# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, misc, attr-defined"
# ruff: noqa: ANN001, ANN201, ANN202, C901, PLR1714, SIM109
# The reason for both lines: see numba_backend.
"""What a chain's totals come to, as numba compiles it: its outputs by the link, and the label by the rule."""

from __future__ import annotations

import math

import numpy as np

from scorer.families.steps import LabelRule
from scorer.families.trees.ensemble import Link

from .numba_arithmetic import plain

(
    _IDENTITY, _SIGMOID, _SOFTMAX, _SIGMOIDS, _NORMED_SIGMOIDS, _EXP, _LOG1P_EXP, _SIGNED_SQUARE, _SHARE,
    _SIGMOID_OUTPUT, _SHARES,
) = (int(link) for link in Link)  # fmt: skip
(
    _NONE, _FIRST_LARGEST, _ABOVE_ZERO, _FROM_ZERO, _LARGEST_TOTAL, _SECOND_TOTAL, _BELOW_ZERO, _UP_TO_ZERO,
    _FIRST_LARGEST_SINGLE,
) = (int(rule) for rule in LabelRule)  # fmt: skip


@plain
def _sigmoid(t):
    return 1.0 / (1.0 + math.exp(-t))


@plain
def link_row(link, parameter, totals, r, n_totals, row):
    """row[output] = the outputs of one row."""
    if link == _SIGMOID or link == _SHARE:
        share = totals[0, r] if link == _SHARE else _sigmoid(parameter * totals[0, r])
        row[0], row[1] = 1.0 - share, share
        return
    total = 0.0
    largest = totals[0, r]
    for k in range(n_totals):
        largest = max(largest, totals[k, r])
    for k in range(len(row)):
        t = totals[k, r]
        if link == _SOFTMAX:
            t = math.exp((t - largest) * parameter)
            total += t
        elif link == _SIGMOIDS or link == _NORMED_SIGMOIDS or link == _SIGMOID_OUTPUT:
            t = _sigmoid(parameter * t)
            total += t
        elif link == _EXP:
            t = math.exp(t)
        elif link == _LOG1P_EXP:
            t = math.log1p(math.exp(t))
        elif link == _SIGNED_SQUARE:
            t = math.copysign(t * t, t)
        elif link == _SHARES:
            total += t
        row[k] = t
    if link == _SOFTMAX or link == _NORMED_SIGMOIDS or link == _SHARES:
        for k in range(len(row)):
            row[k] /= total


@plain
def _find_largest(numbers, count):
    best = 0
    for k in range(1, count):
        if numbers[k] > numbers[best]:
            best = k
    return best


@plain
def choose_label(rule, totals, r, n_totals, row):
    """The place of the row's class; -1 where the model has none."""
    if rule == _FIRST_LARGEST:
        return _find_largest(row, len(row))
    if rule == _FIRST_LARGEST_SINGLE:
        best = 0
        for k in range(1, len(row)):
            if np.float32(row[k]) > np.float32(row[best]):
                best = k
        return best
    if rule == _ABOVE_ZERO:
        return 1 if totals[0, r] > 0.0 else 0
    if rule == _FROM_ZERO:
        return 1 if totals[0, r] >= 0.0 else 0
    if rule == _LARGEST_TOTAL:
        return _find_largest(totals[:n_totals, r], n_totals)
    if rule == _BELOW_ZERO:
        return 1 if totals[0, r] < 0.0 else 0
    if rule == _UP_TO_ZERO:
        return 1 if totals[0, r] <= 0.0 else 0
    return int(totals[1, r]) if rule == _SECOND_TOTAL else -1
