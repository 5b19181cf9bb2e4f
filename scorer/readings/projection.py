"""Which columns the models of a read need: what is not needed is not read, and cannot make a row unusable. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Projection:
    """The features that some models need of wide files; `a | b` is what the models of both need.

    The columns of times, ids and values of long files are always read.
    """

    names: frozenset[str] = frozenset()  # the names of features, and the sensors of models
    in_order: bool = False  # some model has no names: it needs all columns, in the file's order
    sensors_in_order: bool = False  # the same, but only of files with a row for each sensor: its model has a sensor
    unknown: bool = False  # the file of some model was not read: it may need any column, or any key of a folder

    def __or__(self, other: Projection) -> Projection:
        """What the models of both need."""
        return Projection(
            self.names | other.names,
            self.in_order or other.in_order,
            self.sensors_in_order or other.sensors_in_order,
            self.unknown or other.unknown,
        )

    def covers(self, other: Projection) -> bool:
        """Whether all that *other* needs is read with this."""
        return self | other == self

    def needs_all(self, *, has_sensor: bool) -> bool:
        """Whether all columns of numbers are needed of a wide file; *has_sensor*: each row has a sensor."""
        return self.in_order or self.unknown or (self.sensors_in_order and has_sensor)

    def select_features(self, features: tuple[str, ...], *, has_sensor: bool, value: str = "") -> tuple[str, ...]:
        """Those of a wide file's *features* that are needed, in their order; *value* is one that any model may take."""
        if self.needs_all(has_sensor=has_sensor):
            return features
        return tuple(name for name in features if name in self.names or name == value)


EVERYTHING = Projection(unknown=True)
