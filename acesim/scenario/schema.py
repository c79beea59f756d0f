"""The facts of a scenario: frozen, checked, in SI.  What a scenario must fulfil as a whole is in rules.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
    model_validator,
)

from acesim.scenario import defaults
from acesim.scenario.base import Fact, Flag, Positive, Text, Whole, is_yaml, parameter
from acesim.scenario.costs import Grid, Prices, PriceTier
from acesim.scenario.hardware import (
    Availability,
    Compute,
    DeviceChoice,
    DeviceSpec,
    Faults,
    Override,
    SlowPhases,
    Stragglers,
)
from acesim.scenario.labels import folder, labels, name_rule
from acesim.scenario.network import REACHABLE, Cell, Diurnal, NetworkSpec, TcpSpec
from acesim.scenario.nominal import Layer, Nominal
from acesim.scenario.rules import problems
from acesim.scenario.tasks import (
    AboveZero,
    Corpus,
    ImageTask,
    LanguageModelTask,
    OptimizerSpec,
    PluginTask,
    QuadraticTask,
    Task,
    TransformerSpec,
)
from acesim.scenario.units import Range

__all__ = ["Access", "Availability", "Cell", "Compute", "Corpus", "DeviceSpec", "Diurnal", "Fact", "Faults", "Grid",
           "ImageTask", "LanguageModelTask", "Layer", "NetworkSpec", "Nominal", "OptimizerSpec", "Override",
           "PluginTask", "PolicySpec", "PriceTier", "Prices", "QuadraticTask", "Range", "Scenario", "Server", "Servers",
           "SlowPhases", "Stop", "Stragglers", "Task", "TcpSpec", "TransformerSpec", "WorkerGroup"]


class Stop(Fact):
    """When a run ends: at the first of these.  An epoch is steps_per_epoch local steps of each worker."""

    epochs: Annotated[AboveZero, Field(le=1e6)] | None = None
    simulated_time_s: Annotated[float, Field(gt=0)] | None = None
    total_bytes: Annotated[float, Field(gt=0)] | None = None
    target_accuracy_percent: Annotated[float, Field(gt=0, le=100)] | None = None

    @field_validator("epochs")
    @classmethod
    def _known_length(cls, epochs: float | None) -> float:
        if epochs is None:
            raise ValueError("must be given, for learning rates fall over the epochs; the others may only "
                             "stop a run earlier")
        return epochs

    @model_validator(mode="before")
    @classmethod
    def _epochs_always_checked(cls, data: Any) -> Any:
        return {"epochs": None, **data} if isinstance(data, Mapping) else data


class Access(Fact):
    """A worker's own link.  A range is drawn once per worker; None means what is usual for the kind.

    kind                  how the link's rate changes in time; "datacenter" and "constant" do not; "trace" where a trace
                          is given
    downlink, uplink      rates; with a downlink alone the uplink follows the kind's measured relation
    rtt                   round trip; one way is half of it
    trace, offset, end    for kind trace: a file (or a glob, or file#name), where in it to start, and what comes after
                          its end; workers take several recordings in turn
    resample, block       for kind trace: each worker's link is put together from random blocks of this mean length
    """

    kind: Literal["datacenter", "fixed", "wifi", "3g", "lte", "5g", "5g-mmwave", "satellite", "constant",
                  "trace"]
    downlink_bytes_per_s: Range | None = None
    uplink_bytes_per_s: Range | None = None
    rtt_s: Annotated[Range | None, REACHABLE] = None
    trace: Text | None = None
    offset_s: float = 0.0
    end: Literal["loop", "hold", "error"] = "loop"
    resample: Flag = False
    block_s: Annotated[float, Field(gt=0)] = 60.0

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, data: Any) -> Any:
        """Fill in the data centre's own network, and kind trace where a trace is given."""
        if not isinstance(data, Mapping):
            return data
        filled = dict(data)
        if filled.get("trace") is not None:
            filled.setdefault("kind", "trace")
        if filled.get("kind") == "datacenter":
            for name, usual in (("downlink_bytes_per_s", "10 Gbps"), ("uplink_bytes_per_s", "10 Gbps"),
                                ("rtt_s", "0.5 ms")):
                if filled.get(_key(name)) is None and filled.get(name) is None:
                    filled.pop(name, None)
                    filled[_key(name)] = usual
        return filled

    @model_validator(mode="after")
    def _no_idle_settings(self) -> Access:
        if self.kind == "trace" and self.trace is None:
            raise ValueError("kind trace needs a file: write for example {kind: trace, trace: tram.csv}")
        if self.kind != "trace" and self.trace is not None:
            raise ValueError(f"a trace is for kind trace, not {self.kind}; leave one of the two out")
        if self.kind != "trace" and (self.offset_s or self.end != "loop"):
            raise ValueError(f"offset and end are for kind trace, not {self.kind}; leave them out")
        if self.kind != "trace" and self.resample:
            raise ValueError(f"resample is for kind trace, not {self.kind}, whose links are all different; leave it "
                             f"out")
        if self.resample and (self.offset_s or self.end != "loop"):
            raise ValueError("resample starts anywhere and repeats; leave offset and end out")
        if self.kind == "constant" and self.downlink_bytes_per_s is None:
            raise ValueError("kind constant has no usual rate: write for example downlink: 20 Mbps")
        return self


def _key(attribute: str) -> str:
    alias = Access.model_fields[attribute].alias
    return attribute if alias is None else alias


class WorkerGroup(Fact):
    """Workers that are alike.  tier, unless given: "cloud" for those in the data centre, else "edge".

    device      the name of a profile (`acesim devices`), or a device of one's own
    overrides   in what some of them differ from the device: a mapping, or a list of them
    """

    name: Annotated[Text, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
    count: Positive
    device: DeviceChoice
    access: Access
    tier: Literal["cloud", "edge"] = "edge"
    overrides: tuple[Override, ...] = ()
    compute: Compute = Compute()
    availability: Availability = Availability()
    faults: Faults = Faults()

    @field_validator("overrides", mode="before")
    @classmethod
    def _one_override(cls, given: Any) -> Any:
        return [given] if isinstance(given, Mapping) else given

    @model_validator(mode="before")
    @classmethod
    def _usual_tier(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or data.get("tier") is not None:
            return data
        return {**data, "tier": "cloud" if _kind_of_access(data.get("access")) == "datacenter" else "edge"}


def _kind_of_access(access: Any) -> Any:
    return access.get("kind") if isinstance(access, Mapping) else getattr(access, "kind", None)


class Server(Fact):
    """The device a server runs on."""

    device: DeviceChoice


class Servers(Fact):
    """Every region has a server of its own, and the cloud has one.

    timeout   how long a server waits for its quorum before it goes on with the answers it has; None: for ever
    """

    region: Server = Server(device="n100")
    cloud: Server = Server(device="a100")
    timeout_s: Annotated[float, Field(gt=0)] | None = None


class PolicySpec(Fact):
    """A policy with its parameters: in YAML a name, or a mapping of `name`, `label` and the parameters.

    >>> PolicySpec(name="top-k", parameters={"ratio": 0.3}).folder
    'top-k'
    """

    name: Text
    label: str = ""
    parameters: dict[str, Annotated[Any, AfterValidator(parameter)]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any, info: ValidationInfo) -> Any:
        if isinstance(data, str):
            return {"name": data, "label": data}
        if not isinstance(data, Mapping) or ("parameters" in data and not is_yaml(info)):
            return data
        own = {key: data[key] for key in ("name", "label") if key in data}
        return {**own, "parameters": {key: data[key] for key in data if key not in own}}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any,
                                     handler: GetJsonSchemaHandler) -> dict[str, Any]:
        named = {"type": "string", "minLength": 1}
        return {"anyOf": [named, {"type": "object", "properties": {"name": named, "label": named},
                                  "required": ["name"]}]}

    @property
    def folder(self) -> str:
        """The label as the name of a folder."""
        return folder(self.label or self.name)


def _named_folder(name: str) -> str:
    rule = name_rule(name)
    if rule is not None:
        raise ValueError(rule)
    return name


def _axes(given: Any) -> Any:
    return [given] if isinstance(given, Mapping) else given


def _even(axis: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    lengths = {key: len(values) for key, values in axis.items()}
    if not axis or not min(lengths.values()) or len(set(lengths.values())) > 1:
        found = ", ".join(f"{key}: {count}" for key, count in lengths.items()) or "none"
        raise ValueError("must name at least one key, each with a list of values; keys that change together have lists "
                         f"of one length, not {found}")
    if any(isinstance(value, list) for values in axis.values() for value in values):
        raise ValueError("values must be numbers, text, true or false")
    return axis


SweepAxis = Annotated[dict[str, tuple[Annotated[Any, AfterValidator(parameter)], ...]], AfterValidator(_even)]


MOST_WORKERS = 1_000_000


class Scenario(Fact):
    """Everything that a run depends on, apart from the policy and the seed it is played with.

    seeds            of shards, links, batches and weights: policies meet the same ones, and are compared seed by seed
    evaluate_every   of the cloud's rounds; None: at every epoch
    task, nominal    what is trained; what is timed and counted
    servers          the devices they run on
    currency         of prices, three capital letters
    grid             where power comes from
    sweep            a scenario that is a grid: one mapping, or several, of keys (as --set takes them) and lists of
                     values; the keys of a mapping change together, and mappings are combined.  `acesim run` then runs
                     a study for each combination
    calibration      a file of measured times of a step, by device (acesim.fleet.calibration)
    """

    name: Annotated[Text, AfterValidator(_named_folder)]
    description: str = ""
    seeds: Annotated[tuple[Annotated[Whole, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    evaluate_every_rounds: Annotated[int, Field(gt=0)] | None = None
    stop: Stop = Field(default_factory=lambda: defaults.defaults()["stop"], validate_default=True)
    task: Task = LanguageModelTask()
    workers: Annotated[tuple[WorkerGroup, ...], Field(min_length=1)] = Field(
        default_factory=defaults.workers, validate_default=True)
    nominal: Nominal = Field(default_factory=defaults.nominal, validate_default=True)
    network: NetworkSpec = NetworkSpec()
    servers: Servers = Servers()
    policies: Annotated[tuple[PolicySpec, ...], Field(min_length=1)] = Field(
        default_factory=defaults.policies, validate_default=True)
    currency: Annotated[Text, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    prices: Prices = Field(default_factory=Prices)
    grid: Grid = Grid()
    sweep: Annotated[tuple[SweepAxis, ...], BeforeValidator(_axes)] = ()
    calibration: Text | None = None

    @field_validator("nominal")
    @classmethod
    def _proxy_extents(cls, nominal: Nominal, info: ValidationInfo) -> Nominal:
        """Where the proxy itself is timed, its own batch, width and depth are the usual ones."""
        task = info.data.get("task")
        if not nominal.is_proxy or task is None:
            return nominal
        tokens, (width, depth) = task.proxy_tokens, task.proxy_extents
        usual = {} if tokens is None else {"cloud": tokens, "edge": tokens}
        return nominal.model_copy(update={"tokens_per_step": {**usual, **nominal.tokens_per_step},
                                          "width": nominal.width or width, "depth": nominal.depth or depth})

    @field_validator("workers")
    @classmethod
    def _countable(cls, workers: tuple[WorkerGroup, ...]) -> tuple[WorkerGroup, ...]:
        count = sum(group.count for group in workers)
        if count > MOST_WORKERS:
            raise ValueError(f"{count} workers in all: must be <= {MOST_WORKERS}")
        return workers

    @field_validator("network")
    @classmethod
    def _fits_memory(cls, network: NetworkSpec, info: ValidationInfo) -> NetworkSpec:
        network.check_samples(sum(group.count for group in info.data.get("workers", ())
                                  if group.access.kind not in ("constant", "datacenter")))
        return network

    @field_validator("policies")
    @classmethod
    def _labelled(cls, policies: tuple[PolicySpec, ...]) -> tuple[PolicySpec, ...]:
        found = labels([(policy.name, policy.label or None, policy.parameters) for policy in policies])
        return tuple(policy.model_copy(update={"label": label})
                     for policy, label in zip(policies, found, strict=True))

    @model_validator(mode="after")
    def _hangs_together(self, info: ValidationInfo) -> Scenario:
        if not is_yaml(info):  # the loader asks for them itself, to name a line for each
            found = list(problems(self))
            if found:
                raise ValueError("; ".join(str(problem) for problem in found))
        return self
