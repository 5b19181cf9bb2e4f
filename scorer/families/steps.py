"""The layout of a model that predicts: a chain of steps, each of which turns the columns of some rows into others.

    integers   head (HEAD_INTEGERS) | each step: its head (STEP_INTEGERS), what the kind says
    numbers    parameter of the link | each step's numbers
    head       integers, numbers, most columns of a step, totals, outputs, Link, LabelRule, steps
    of a step  kind, integers, numbers, columns that it makes

The integers and numbers of a step follow each other in the order of the steps. The columns of the last step are the
totals of the model, and its link makes its outputs of them. What the kinds of steps hold:

    SELECT    columns                                          the columns at these places
    IMPUTE    first, end           value                       NaN becomes the value, in the columns first..end
    DIVIDE    first, end           shift, scale                (x - shift) / scale
    MULTIPLY  first, end           low, high, shift, scale     x * scale + shift, then clipped to low..high
    ROUND                                                      to float32
    PRODUCT                        weights, offset             the sums of x * weight in the columns' order, + offset
    RBF       vectors              gamma, vectors              exp(-gamma * |x - vector| ** 2)
    POLY      degree               gamma, coef0, vectors       (gamma * x . vector + coef0) ** degree
    TANH                           gamma, coef0, vectors       tanh(gamma * x . vector + coef0)
    COSINE                         factor                      cos(x) * factor
    GAUSSIAN                       constant, means, variances  constant - sum((x - mean) ** 2 / variance) / 2
    NEAREST                        vectors                     minus the distance to the nearest vector, and its place
    VOTES     classes                                          of pairs of classes: the votes of each class
    ENCODE    counts               values                      in the first columns: the place of x among values, or NaN
    MEDIAN                         weights                     the weighted median of the columns
    TREES     see trees/packing.py
    RBF_SUM                        gamma, vectors,             the sum of weight * RBF in the vectors' order, + offset
                                   weights, offset
    NEIGHBOURS  see neighbours.py
    LOGISTIC                       steepness, factor,          factor / (1 + exp(-steepness * x)) + shift
                                   shift
    MATERN_SUM  2 nu: 1, 3 or 5    vectors, weights, offset    the sum of weight * Matern kernel of nu, + offset
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from .trees.ensemble import Link

HEAD_INTEGERS, STEP_INTEGERS = 8, 4
N_INTEGERS, N_NUMBERS, MOST_COLUMNS, N_TOTALS, N_OUTPUTS, LINK, LABEL_RULE, N_STEPS = range(HEAD_INTEGERS)
KIND, N_STEP_INTEGERS, N_STEP_NUMBERS, N_COLUMNS = range(STEP_INTEGERS)  # of the head of a step


class StepKind(IntEnum):
    """What a step does."""

    SELECT = 0
    IMPUTE = 1
    DIVIDE = 2
    MULTIPLY = 3
    ROUND = 4
    PRODUCT = 5
    RBF = 6
    POLY = 7
    TANH = 8
    COSINE = 9
    GAUSSIAN = 10
    NEAREST = 11
    VOTES = 12
    TREES = 13
    ENCODE = 14
    MEDIAN = 15
    RBF_SUM = 16  # one pass over the vectors, without a column for each
    NEIGHBOURS = 17
    LOGISTIC = 18
    MATERN_SUM = 19


class LabelRule(IntEnum):
    """Which class is a row's label."""

    NONE = 0  # of a regressor
    FIRST_LARGEST = 1  # that of the first largest output
    ABOVE_ZERO = 2  # of two classes: the second where the total is above 0
    FROM_ZERO = 3  # the second where the total is 0 or above
    LARGEST_TOTAL = 4  # that of the first largest total
    SECOND_TOTAL = 5  # the second total is its number; the only output is the first
    BELOW_ZERO = 6  # of a detector: 1, an anomaly, where the total is below 0
    UP_TO_ZERO = 7  # the same where it is 0 or below
    FIRST_LARGEST_SINGLE = 8  # that of the first largest output, as float32


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a chain."""

    kind: StepKind
    n_columns: int  # that it makes
    integers: Sequence[int] | np.ndarray = ()
    numbers: Sequence[np.ndarray] = ()


@dataclass(frozen=True, slots=True)
class Outputs:
    """What becomes of the totals."""

    link: Link = Link.IDENTITY
    rule: LabelRule = LabelRule.NONE
    parameter: float = 1.0
    count: int = 1


@dataclass(frozen=True, slots=True)
class Chain:
    """The numbers of a model that predicts, for `Packed`."""

    numbers: np.ndarray  # float64
    integers: np.ndarray  # int32
    n_outputs: int = field(default=1)


def compare_rbf(gamma: float, vectors: np.ndarray, weights: np.ndarray, offset: np.ndarray) -> list[Step]:
    """The steps for the kernels of some vectors, and the sums of their products with weights [sums, vectors]."""
    parameter = np.array([gamma])
    if len(weights) == 1:
        return [Step(StepKind.RBF_SUM, 1, (), (parameter, vectors, weights, offset))]
    comparison = Step(StepKind.RBF, len(vectors), (), (parameter, vectors))
    return [comparison, Step(StepKind.PRODUCT, len(weights), numbers=(weights, offset))]


def join_products(steps: Sequence[Step]) -> list[Step]:
    """The steps, with what follows kernels to vectors, a product and a product of fewer columns, as one product.

    So a Nystroem before a linear model makes one sum over its components.
    """
    result = list(steps)
    for at in range(len(result) - 2):
        kernels, inner, outer = result[at : at + 3]
        is_so = (kernels.kind, inner.kind, outer.kind) == (StepKind.RBF, StepKind.PRODUCT, StepKind.PRODUCT)
        if is_so and outer.n_columns <= inner.n_columns:
            weights, offset = (
                outer.numbers[0] @ inner.numbers[0],
                outer.numbers[0] @ inner.numbers[1] + outer.numbers[1],
            )
            gamma, vectors = kernels.numbers
            joined = compare_rbf(float(gamma[0]), vectors, weights, offset)
            return [*result[:at], *joined, *result[at + 3 :]]
    return result


def build_chain(steps: Sequence[Step], n_features: int, outputs: Outputs) -> Chain:
    """The chain of these steps over *n_features* columns. Raises ValueError for numbers that are not finite."""
    numbers: list[np.ndarray] = [np.array([outputs.parameter])]
    integers: list[np.ndarray] = []
    for step in steps:
        own = np.concatenate([np.empty(0), *(np.ravel(part) for part in step.numbers)])
        if step.kind is not StepKind.TREES and np.isnan(own).any():
            raise ValueError("it holds a number that is not finite")
        step_head = (step.kind, STEP_INTEGERS + len(step.integers), len(own), step.n_columns)
        integers += [np.array(step_head, np.int32), np.asarray(step.integers, np.int32)]
        numbers.append(own)
    body, all_numbers = np.concatenate(integers), np.concatenate(numbers, dtype=np.float64)
    most_columns = max(n_features, *(step.n_columns for step in steps))
    head = (
        HEAD_INTEGERS + len(body),
        len(all_numbers),
        most_columns,
        steps[-1].n_columns,
        outputs.count,
        outputs.link,
        outputs.rule,
        len(steps),
    )
    return Chain(all_numbers, np.concatenate((np.array(head, np.int32), body)), outputs.count)
