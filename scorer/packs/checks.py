"""Whether the sizes of a pack's numbers agree with what it says of them: afterwards native code may trust them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scorer.families.base import COUNT, HEAD, OUTPUTS_LIMIT, Family
from scorer.families.steps import HEAD_INTEGERS, N_INTEGERS, N_NUMBERS, N_OUTPUTS
from shared.contract.reasons import Reason

if TYPE_CHECKING:
    from .pack import Pack


def find_index_problem(pack: Pack) -> str:
    """The contradiction in what the pack says of its models, but for their numbers; "" when there is none.

    Raises ValueError where texts are not of their form.
    """
    family, n_features = pack.get_numbers("family"), pack.get_numbers("width")
    n_numbers = np.diff(pack.numbers[0])
    is_used = family != Family.KEPT
    if not set(pack.get_texts("reason")[1]) <= {"", *Reason}:
        return "an unknown reason"
    _ = pack.features, pack.gaps, pack.classes, pack.tasks  # raise ValueError where they are not such
    is_small = n_numbers[is_used & (family != Family.STEPS)] < HEAD
    if not np.isin(family, list(Family)).all() or (n_numbers[~is_used] != 0).any() or is_small.any():
        return "an unknown family, or a family without numbers"
    return "a model without features" if (n_features[is_used] < 1).any() else ""


def find_problem(pack: Pack, rows: np.ndarray) -> str:
    """The contradiction in the sizes of the numbers of these rows, which are loaded; "" when there is none."""
    family, n_features = pack.get_numbers("family")[rows], pack.get_numbers("width")[rows].astype(np.int64)
    (number_at, numbers), (integer_at, _) = pack.numbers, pack.integers
    n_numbers, n_integers = np.diff(number_at)[rows], np.diff(integer_at)[rows]
    steps = family == Family.STEPS
    used = (family != Family.KEPT) & ~steps
    if problem := _find_chain_problem(pack, rows[steps]):
        return problem
    count = np.zeros(len(family))
    count[used] = numbers[number_at[rows[used]] + COUNT]
    if not (np.isfinite(count) & (count >= 0) & (count == np.floor(count)) & (count < 2**31)).all():
        return "a count that is not a whole number"
    n = count.astype(np.int64)
    nodes = (n_integers - n) // 3
    body = {
        Family.RBF: n * (n_features + 1),
        Family.POLY: n * (n_features + 1),
        Family.SIGMOID: n * (n_features + 1),
        Family.LINEAR: n_features,
        Family.ENVELOPE: n_features + n_features * n_features,
        Family.FOREST: nodes,
    }
    for family_of_body, body_size in body.items():
        is_family = family == family_of_body
        if (n_numbers[is_family] != (HEAD + 2 * n_features + body_size)[is_family]).any():
            return f"{family_of_body.name} with a wrong number of numbers"
    forest = family == Family.FOREST
    if (n_integers[~forest & ~steps] != 0).any() or (n_integers[forest] != (n + 3 * nodes)[forest]).any():
        return "trees with a wrong number of nodes"
    return ""


def _find_chain_problem(pack: Pack, rows: np.ndarray) -> str:
    """The contradiction between the sizes of chains and what they say themselves; "" where there is none."""
    (number_at, _), (integer_at, integers) = pack.numbers, pack.integers
    n_numbers, n_integers = np.diff(number_at)[rows], np.diff(integer_at)[rows]
    if (n_integers < HEAD_INTEGERS).any():
        return "a chain of steps without a head"
    first = integer_at[rows]
    is_own = (integers[first + N_INTEGERS] == n_integers) & (integers[first + N_NUMBERS] == n_numbers)
    outputs, (task_codes, tasks) = pack.get_numbers("outputs")[rows], pack.tasks
    is_own &= (integers[first + N_OUTPUTS] == outputs) & (outputs >= 1) & (outputs < OUTPUTS_LIMIT)
    has_task = np.array([task is not None for task in tasks], bool)[task_codes[rows]]
    return "" if (is_own & has_task).all() else "a chain of steps with other numbers than it says"
