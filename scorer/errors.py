"""The one error that a single model's trouble travels as."""

from __future__ import annotations

from shared.contract.domain import Model, Reason
from shared.contract.model_names import explain_refusal, format_name

_REFUSALS = {
    Reason.AMBIGUOUS: "more than one file holds this model; {} is one of them",
    Reason.QUARANTINED: "{} has ended the process that scored it before; it is tried again once its file changes, or "
    "somebody strikes it off the quarantine",
}


class Unscorable(Exception):
    """This model cannot be scored, for *reason*; the message says what was expected and what was found."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def refused(model: Model) -> Unscorable:
    """Why a model that was refused by its name is not scored. Its file is not even looked at."""
    assert model.refused
    if model.refused is Reason.BAD_NAME:
        return Unscorable(
            model.refused, f"{format_name(model.name)!r} gives no usable id: {explain_refusal(model.name)}"
        )
    return Unscorable(model.refused, _REFUSALS.get(model.refused, "{} was refused by the plan").format(model.name))
