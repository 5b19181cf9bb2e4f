"""The error of a single model, and why the plan refuses some."""

from __future__ import annotations

from shared.contract.domain import Model
from shared.contract.fleet.formats import ModelFormats
from shared.contract.fleet.listing import find_unsupported_file
from shared.contract.model_names import explain_refusal, format_name
from shared.contract.reasons import Reason

_REFUSALS = {
    Reason.AMBIGUOUS: "more than one file holds this model: {}",
    Reason.QUARANTINED: "{} ended the process that scored it before; it is tried again when its file changes, or when "
    "an operator releases it from the quarantine",
    Reason.MODEL_REMOVED: "{} existed when the run was planned, and was removed since",
}


# How the message of a file begins that is no model, such as a scaler. Nobody expects readings for such a file, so
# it is told before they are looked for; a pack keeps no more of an error than its reason and its message.
NO_MODEL = "expected a model that predicts"


class Unscorable(Exception):
    """This model cannot be scored, for *reason*; the message says what was expected and what came."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def make_refusal(model: Model, formats: ModelFormats) -> Unscorable:
    """The error of a model that the plan refused; *formats* are those of the plan. Its file is not read."""
    assert model.refused
    if model.refused is Reason.BAD_NAME:
        problem = explain_refusal(model.name, formats)
        return Unscorable(model.refused, f"{format_name(model.name)!r} gives no usable id: {problem}")
    if model.refused is Reason.UNSUPPORTED_MODEL:
        name = find_unsupported_file(model) or "one"
        return Unscorable(
            model.refused,
            f"{model.name} has more files, of which {name} cannot be read beside it: expected at most one scaler, in a "
            "file of a model's format; or put all of them into one Pipeline",
        )
    return Unscorable(
        model.refused, _REFUSALS.get(model.refused, "{} was refused by the plan").format(_list_names(model, formats))
    )


def _list_names(model: Model, formats: ModelFormats) -> str:
    """The names of the files that claim to be the model, as far as the plan says them."""
    if model.refused is not Reason.AMBIGUOUS or not model.files:
        return model.name
    stem = formats.get_stem(model.name)
    return ", ".join(file.name for file in model.files if formats.get_stem(file.name) == stem)
