"""What a scenario file says: vehicles, steps, and what each must lead to. Its JSON Schema completes it in editors."""

import json
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from schemas.base import Vin, format_instant
from schemas.call import CallStatus
from schemas.demo import DEMO_VINS
from schemas.receipt import ReceiptResult
from schemas.topics import Uplink
from schemas.vehicle import EngineEvent

FOLDER = Path(__file__).parent / "scenarios"
BUNDLED = tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))

_PLACEHOLDER = re.compile(r"\{([a-z][\w.+-]*)\}")
_WHEN = re.compile(r"now(?:([+-])(\d+)([smhd]))?")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Seconds = Annotated[float, Field(gt=0, le=300)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class BadScenario(Exception):
    """A file is no scenario; the message names the field and what was expected."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Stream(StrEnum):
    """The event streams of the API."""

    SOS = "sos"
    RSA = "rsa"
    CURFEW = "curfew"


class Press(_Part):
    """A button is pressed. `fields` are those of the contract; what is left out is chosen by the seed."""

    service: Literal["sos", "rsa"]
    fields: dict[str, JsonValue] = {}
    save: Name = Field(description="Its messageId and the cid of its receipt, for {name.cid} in later steps.")
    within: Seconds = Field(10, description="Seconds for the receipt STORED; in coverage only.")


class Engine(_Part):
    """The engine is started or stopped, now or so long ago (`now-2h`)."""

    event: EngineEvent
    at: str = "now"
    save: Name | None = None
    within: Seconds = 10


class Drive(_Part):
    """A drive with its engine events and status messages, told as having ended then; shuffled: in no order."""

    seconds: Annotated[float, Field(ge=5, le=3600)] = 60
    ended: str = "now"
    shuffled: bool = False
    within: Seconds = 20


class Call(_Part):
    """The voice call of a press changes its state."""

    status: CallStatus
    of: Name
    duration: Annotated[int, Field(ge=0)] | None = None
    within: Seconds = 10


class Send(_Part):
    """Any payload, once; a text goes out as it is, an object as JSON."""

    kind: Uplink
    payload: str | dict[str, JsonValue]


class Receipt(_Part):
    """Receipts that must have come: of a saved message, of any id, or (`of: null`) of one without a readable id."""

    of: str | None
    result: ReceiptResult
    count: Annotated[int, Field(ge=1)] = 1
    within: Seconds = 10
    save: Name | None = None


class Event(_Part):
    """An event that must have come, so soon after what was done last. `where` picks it, `expect` judges it."""

    stream: Stream
    type: str
    where: dict[str, JsonValue] = {}
    expect: dict[str, JsonValue] = {}
    within: Seconds = 10
    save: Name | None = None


class Count(_Part):
    """How many events of a type have come so far: after a step that could have brought more."""

    stream: Stream
    type: str
    where: dict[str, JsonValue] = {}
    events: Annotated[int, Field(ge=0)]


class Shown(_Part):
    """What the vehicle must show its driver of an incident (`down/incident`)."""

    of: Name
    status: str
    within: Seconds = 10


class Rest(_Part):
    """A request to the API. `expect` names fields of the answer by path (`incidents.0.cid`; `rows.#` is their number).

    With `within`, which only a GET may have, it is asked again until its answer is as expected.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    body: dict[str, JsonValue] = {}
    expect: dict[str, JsonValue] = {}
    refused: Annotated[int, Field(ge=400, le=599)] | None = Field(
        None, description="The status it must be refused with."
    )
    within: Seconds | None = None
    save: Name | None = None

    @model_validator(mode="after")
    def _is_done_once(self) -> Self:
        if self.within is not None and self.method != "GET":
            raise ValueError(f"within: expected only with GET, for a {self.method} would be done again")
        return self


class Step(_Part):
    """One thing that happens, or one that must have happened: exactly one of the fields beside note and vehicle."""

    note: str = ""
    vehicle: Name | None = Field(None, description="Whose step it is; the first vehicle if left out.")
    press: Press | None = None
    engine: Engine | None = None
    drive: Drive | None = None
    call: Call | None = None
    send: Send | None = None
    again: Name | None = Field(None, description="Send a saved message once more, byte by byte.")
    coverage: Literal["lost", "back"] | None = None
    rest: Rest | None = None
    wait: Seconds | None = None
    receipt: Receipt | None = None
    event: Event | None = None
    count: Count | None = None
    shown: Shown | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if len(self._said()) != 1:
            named = ", ".join(self._said()) or "none"
            raise ValueError(f"expected exactly one of {', '.join(_THINGS)}; got {named}")
        return self

    @property
    def kind(self) -> str:
        """The name of the one thing."""
        return self._said()[0]

    def _said(self) -> list[str]:
        return [name for name in _THINGS if getattr(self, name) is not None]


_THINGS = tuple(name for name in Step.model_fields if name not in {"note", "vehicle"})


class Scenario(_Part):
    """A scenario: who takes part, what happens, and what is to be done at the end whatever happened."""

    title: str
    vehicles: Annotated[dict[Name, Vin], Field(min_length=1)] = {"car": DEMO_VINS[0]}
    steps: Annotated[list[Step], Field(min_length=1)]
    afterwards: list[Step] = []

    @model_validator(mode="after")
    def _knows_its_vehicles(self) -> Self:
        for step in (*self.steps, *self.afterwards):
            if step.vehicle is not None and step.vehicle not in self.vehicles:
                raise ValueError(f"vehicle {step.vehicle}: expected one of {', '.join(self.vehicles)}")
        return self


class Lines(_Part):
    """The lines of the file on which the steps begin."""

    steps: list[int]
    afterwards: list[int]


def load_scenario(path: Path) -> tuple[Scenario, Lines]:
    """Return the scenario of a file and where in it the steps are. Raises BadScenario."""
    try:
        text = path.read_text(encoding="utf-8")
        scenario = Scenario.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadScenario(f"{path}: {where}: {first['msg']}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadScenario(f"{path}: {error}") from error
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)  # noqa: S101 - a Scenario was made of it
    found: dict[str, list[int]] = {"steps": [], "afterwards": []}
    for key, value in root.value:
        if key.value in found:
            found[key.value] = [step.start_mark.line + 1 for step in value.value]
    return scenario, Lines(**found)


def scenario_files(name: str) -> list[Path]:
    """Return the files that a name on the command line means. Raises BadScenario where there is none."""
    if name == "all":
        return [FOLDER / f"{bundled}.yaml" for bundled in BUNDLED]
    if name in BUNDLED:
        return [FOLDER / f"{name}.yaml"]
    if not Path(name).is_file():
        raise BadScenario(f"{name}: expected a file, all, or one of {', '.join(BUNDLED)}")
    return [Path(name)]


def json_schema() -> str:
    """Return the JSON Schema of scenario files, as the bundled ones name it."""
    return json.dumps(Scenario.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def filled(value: Any, known: dict[str, Any], now: datetime) -> Any:
    """Return a value with its placeholders filled in: {name.field} of what was saved, {now}, {now-2h}.

    A text that is one placeholder becomes what it stands for, whatever its type. Raises BadScenario for an unknown one.
    """
    match value:
        case dict():
            return {name: filled(each, known, now) for name, each in value.items()}
        case list():
            return [filled(each, known, now) for each in value]
        case str():
            whole = _PLACEHOLDER.fullmatch(value)
            if whole is not None:
                return _meant(whole[1], known, now)
            return _PLACEHOLDER.sub(lambda found: str(_meant(found[1], known, now)), value)
        case _:
            return value


def instant(text: str, now: datetime) -> datetime:
    """Return when `now`, `now-2h` or `now+30m` is. Raises BadScenario for anything else."""
    found = _WHEN.fullmatch(text)
    if found is None:
        raise BadScenario(f"{text!r}: expected now, or now with an offset in s, m, h or d, as in now-2h")
    sign, number, unit = found.groups()
    try:
        return now if sign is None else now + timedelta(**{_UNITS[unit]: int(sign + number)})
    except (OverflowError, ValueError) as error:  # a number of thousands of digits is a ValueError
        raise BadScenario(f"{text[:40]!r}: expected an instant of the years 1 to 9999") from error


def at_path(body: Any, path: str) -> Any:
    """Return what is at a dotted path of an answer, None where there is nothing; `#` is the number of entries."""
    for part in path.split("."):
        match body:
            case list() if part == "#":
                body = len(body)
            case list() if part.lstrip("-").isdigit():
                place = int(part)
                body = body[place] if -len(body) <= place < len(body) else None
            case dict():
                body = body.get(part)
            case _:
                return None
    return body


def _meant(name: str, known: dict[str, Any], now: datetime) -> Any:
    if _WHEN.fullmatch(name):
        return format_instant(instant(name, now).astimezone(UTC))
    found = at_path(known, name)
    if found is None:
        raise BadScenario(f"{{{name}}} stands for nothing: known are {', '.join(sorted(known))}, and now")
    return found
