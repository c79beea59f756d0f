"""What workers and servers are made of, how their speed varies, and when they are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator, model_validator

from acesim.scenario.base import Fact, Positive, Text
from acesim.scenario.units import TIME, Range, spell

_Positive = Annotated[float, Field(gt=0)]


def _at_least(least_s: float) -> AfterValidator:
    """Bound the mean length of phases, for a run goes through every single one of them."""
    def checked(mean_s: float) -> float:
        if mean_s < least_s:
            raise ValueError(f"must be >= {spell(TIME, least_s)}: the mean of phases that a run goes through one by "
                             f"one")
        return mean_s
    return AfterValidator(checked)


_Phase = Annotated[float, _at_least(1e-3)]
_Stay = Annotated[float, _at_least(1.0)]
"""Time in which work is to be done: who goes sooner would begin it again and again, and never end."""


class DeviceFacts(Fact):
    """The figures of a device; None: those of the profile it is like (see acesim.fleet.devices.Device).

    launch_s   None: the profile's, or no time where it is like nothing
    """

    flops_per_s: _Positive | None = None
    memory_bytes: _Positive | None = None
    memory_bandwidth_bytes_per_s: _Positive | None = None
    network_bytes_per_s: _Positive | None = None
    idle_w: float | None = None
    busy_w: float | None = None
    launch_s: Annotated[float, Field(ge=0)] | None = None


class DeviceSpec(DeviceFacts):
    """A device of one's own: like a profile but for what is given, or all of it given.

    >>> DeviceSpec(like="rk3588", flops="30 GFLOP/s").flops_per_s
    30000000000.0
    """

    like: Text | None = None

    @model_validator(mode="after")
    def _whole(self) -> DeviceSpec:
        missing = [name for name in DeviceFacts.model_fields if name != "launch_s" and getattr(self, name) is None]
        if self.like is None and missing:
            keys = ", ".join(str(DeviceFacts.model_fields[name].alias) for name in missing)
            raise ValueError(f"says nothing of {keys}; give them, or like: rk3588 (`acesim devices`)")
        return self


def _device_tag(value: Any) -> str:
    return "mapping" if isinstance(value, Mapping | DeviceSpec) else "name"


DeviceChoice = Annotated[Annotated[Text, Tag("name")] | Annotated[DeviceSpec, Tag("mapping")],
                         Discriminator(_device_tag)]
"""The name of a profile, or a device of one's own."""


class Override(DeviceFacts):
    """What some workers of a group have other than their device.

    count   how many of the group's workers, following those of the overrides before; None: all that are left
    """

    count: Positive | None = None


class SlowPhases(Fact):
    """Phases in which a device computes slower, heat for example: a two-state process in simulated time.

    factor   steps take so much longer
    every    mean time from the end of one to the beginning of the next, exponential
    last     mean length, exponential
    """

    factor: Annotated[float, Field(gt=1, le=1e6)]
    every_s: _Phase
    last_s: _Phase


MOST_SPREAD = 5.0
"""Standard deviation of a logarithm: at 5 one in six is already 150 times the median, and the mean 270 000 times."""


class Stragglers(Fact):
    """Workers that are slow for good, and steps that take far longer than others.

    spread   standard deviation of the logarithm of a worker's own factor, log-normal of mean 1, drawn once;
             .86 spans what AI-Benchmark found between phones (17 x from the 5th to the 95th percentile)
    share    of steps that are multiplied by a Pareto factor of at least 1, in [0, 1]
    tail     its exponent: P(factor > x) = x^-tail; above 1, so that there is a mean
    """

    spread: Annotated[float, Field(ge=0, le=MOST_SPREAD)] = 0.0
    share: Annotated[float, Field(ge=0, le=1)] = 0.0
    tail: Annotated[float, Field(gt=1)] = 1.5


class Compute(Fact):
    """How the time of a step varies, beside what is usual for the device.

    jitter   standard deviation over mean of a step (log-normal); None: the device's
    """

    jitter: Annotated[float, Field(ge=0, le=10)] | None = None
    slow_phases: SlowPhases | None = None
    stragglers: Stragglers = Stragglers()


class Availability(Fact):
    """When a worker is there.  Nothing given: always.

    present, absent   mean lengths of being there and being away, in turn; exponential, or log-normal with `spread`,
                      the standard deviation of the logarithm.  A worker begins as if this had gone on for ever
    trace             a CSV file with columns t_s and present (0 or 1), repeated; every worker begins somewhere in it
    join, leave       before the one and after the other it is away; a range is drawn for each worker
    on_leave          what it was doing is lost, or finished before it goes
    """

    present_s: _Stay | None = None
    absent_s: _Phase | None = None
    spread: Annotated[float, Field(gt=0, le=MOST_SPREAD)] | None = None
    trace: Text | None = None
    join_s: Range | None = None
    leave_s: Range | None = None
    on_leave: Literal["lose", "finish"] = "lose"

    @model_validator(mode="after")
    def _goes_together(self) -> Availability:
        if (self.present_s is None) != (self.absent_s is None):
            raise ValueError("present and absent are given together, or neither")
        if self.spread is not None and self.present_s is None:
            raise ValueError("spread belongs to present and absent; give them, or leave it out")
        if self.trace is not None and self.present_s is not None:
            raise ValueError("a trace, or present and absent, but not both")
        return self

    @field_validator("leave_s")
    @classmethod
    def _after_the_start(cls, leave: Range | None) -> Range | None:
        if leave is not None and leave.low <= 0:
            raise ValueError("must be > 0; a worker that is never there is no worker")
        return leave


class Faults(Fact):
    """Crashes: what a worker was doing is lost, whatever `on_leave` says.

    every    mean time from being back to the next crash, exponential; None: never
    repair   mean time until it is back, exponential
    """

    every_s: _Stay | None = None
    repair_s: _Phase = 60.0
