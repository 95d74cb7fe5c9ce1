"""What a counselor can do with an incident: when, what is asked for it, and the request that does it.

Data and pure functions. Whether it is allowed in the end is the API's to say; this only decides what is offered.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from console.public_api import SAFETY, Json
from console.texts import say, word
from schemas.access import Role, WhoAmI
from schemas.rsa import Priority, RsaResult, RsaStatus, ServiceType
from schemas.sos import DispatchService, DispatchState, SosResult, SosStatus


@dataclass(frozen=True, slots=True)
class Choices:
    """What forms let choose from: (value, label) of counselors and partners."""

    agents: Sequence[tuple[str, str]]
    partners: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Subject:
    """The incident that is acted on: its status answer, who acts, and the present time as the API writes it."""

    service: str
    incident: Json
    who: WhoAmI
    now: str

    @property
    def cid(self) -> str:
        """The incident's id."""
        return str(self.incident["cid"])


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent to the API."""

    path: str
    body: Json


@dataclass(frozen=True, slots=True)
class Action:
    """Something that can be done while the incident has one of these statuses.

    `form` gives the fields to ask for, none where nothing is asked; `request` makes what is sent of the values.
    `as_partner` marks the partner's own words, which a counselor's key may not speak; `chooses` says which of the
    choices the form needs: "agents" or "partners".
    """

    name: str
    statuses: frozenset[str]
    request: Callable[[Subject, Json], Request]
    form: Callable[[Subject, Choices], list[Json]] | None = None
    look: str = ""
    lead: str = ""
    as_partner: bool = False
    chooses: str = ""


def field(name: str, kind: str = "text", **more: object) -> Json:
    """Return a field of a form as the browser's part takes it."""
    label = more.pop("label", None) or say(f"field.{name.rpartition('.')[2]}")
    return {"name": name, "kind": kind, "label": label, **more}


def _choice(name: str, values: Sequence[tuple[str, str]], **more: object) -> Json:
    return field(name, "choice", choices=[list(pair) for pair in values], **more)


def _words(kind: str, names: Sequence[str]) -> list[tuple[str, str]]:
    return [(str(name), word(kind, name)) for name in names]


def _yes_no(name: str) -> Json:
    """Return a question that may stay without an answer: nobody knows is not no."""
    return field(name, "answer", choices=[["yes", say("yes")], ["no", say("no")]])


def unflat(values: Json) -> Json:
    """Return {"a.b": 1} as {"a": {"b": 1}}: forms name their fields as the API's errors do."""
    found: Json = {}
    for name, value in values.items():
        *parents, last = name.split(".")
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return found


def _vehicle(subject: Subject, path: str) -> str:
    return f"{SAFETY}/vehicles/{subject.incident['vin']}/{subject.service.lower()}/{path}"


def _body(subject: Subject, **said: object) -> Json:
    return {"cid": subject.cid, **said}


# ---- SOS


def _asks_agent(subject: Subject, choices: Choices) -> list[Json]:
    if subject.who.agent_id is not None:
        return []
    return [_choice("agentId", choices.agents, required=True, value=choices.agents[0][0] if choices.agents else "")]


def _take(subject: Subject, values: Json) -> Request:
    return Request(_vehicle(subject, "take"), _body(subject, **values))


def _tells_call(status: str) -> Callable[[Subject, Json], Request]:
    return lambda subject, values: Request(_vehicle(subject, "call"), _body(subject, status=status, **values))


def _send_service_form(subject: Subject, _choices: Choices) -> list[Json]:
    known = subject.incident["dispatchInfo"]
    services, steps = _words("service", list(DispatchService)), _words("status", list(DispatchState))
    return [
        _choice("serviceType", services, required=True, value=known["serviceType"] or "POLICE"),
        _choice("status", steps, required=True, value=known["status"] or "DISPATCHED"),
        field("provider", value=known["provider"]),
        field("unitNumber", value=known["unitNumber"]),
        field("contactNumber", "phone", value=known["contactNumber"]),
        field("estimatedArrival", "instant", value=known["estimatedArrival"]),
    ]


def _simple(path: str) -> Callable[[Subject, Json], Request]:
    return lambda subject, values: Request(_vehicle(subject, path), _body(subject, **unflat(values)))


def _close_sos_form(subject: Subject, _choices: Choices) -> list[Json]:
    sent = subject.incident["dispatchInfo"]
    went = sent["dispatched"] and sent["serviceType"]
    result = f"{sent['serviceType']}_DISPATCHED" if went else "RESOLVED_BY_PHONE"
    fields = [
        _choice("result", _words("result", list(SosResult)), required=True, value=result),
        field("completionTime", "instant", value=subject.now),
        field("notes", "area"),
    ]
    for place, service in enumerate(DispatchService):
        base = f"emergencyServices.{service.lower()}"
        fields += [
            field(
                f"{base}.dispatched",
                "flag",
                label=say("field.dispatched", service=word("service", service)),
                value=sent["serviceType"] == service,
                heading=say("head.services") if place == 0 else None,
            ),
            field(f"{base}.reportNumber", when=f"{base}.dispatched"),
            field(f"{base}.officerName", when=f"{base}.dispatched"),
            field(f"{base}.arrivalTime", "instant", when=f"{base}.dispatched"),
        ]
    return [
        *fields,
        _yes_no("customerStatus.safe") | {"heading": say("head.customer")},
        _yes_no("customerStatus.injuries"),
        _yes_no("customerStatus.medicalAttention"),
        field("followUpRequired", "flag"),
    ]


def _close_sos(subject: Subject, values: Json) -> Request:
    said = unflat(values)
    said["emergencyServices"] = {
        name: service for name, service in said.get("emergencyServices", {}).items() if service["dispatched"]
    }
    return Request(_vehicle(subject, "close"), _body(subject, **_as_agent(subject), **said))


def _as_agent(subject: Subject) -> Json:
    return {} if subject.who.agent_id is None else {"agentId": subject.who.agent_id}


# ---- RSA


def _dispatch_form(subject: Subject, choices: Choices) -> list[Json]:
    incident = subject.incident
    asked = incident["partner"] if incident["status"] == RsaStatus.DISPATCHED else None
    others = [(partner, name) for partner, name in choices.partners if partner != asked]
    kinds, priorities = _words("kind", list(ServiceType)), _words("urgency", list(Priority))
    return [
        _choice("partner", others, required=True, value=others[0][0] if others else ""),
        _choice("serviceType", kinds, required=True, value=incident["serviceType"] or "TOWING"),
        _choice("priority", priorities, required=True, value=incident["priority"]),
        field("destination.name", label=say("field.destinationName")),
        field("destination.address", label=say("field.destinationAddress")),
        field("notes", "area"),
        field("consent", "flag", value=bool((incident["customerConsent"] or {}).get("granted"))),
    ]


def _dispatch(subject: Subject, values: Json) -> Request:
    said = unflat({name: value for name, value in values.items() if name != "consent"})
    consent = {"granted": bool(values.get("consent")), "timestamp": subject.now}
    body = _body(subject, **_as_agent(subject), **said, customerConsent=consent)
    return Request(_vehicle(subject, "dispatch"), body)


def _partner(subject: Subject, path: str) -> str:
    return f"{SAFETY}/partners/{subject.incident['partner']}/{path}"


def _confirm_form(subject: Subject, _choices: Choices) -> list[Json]:
    return [
        field("partnerTicketId", value=subject.incident["partnerTicketId"]),
        field("provider.name", label=say("field.providerName")),
        field("provider.driver.name", label=say("field.driverName")),
        field("provider.driver.phone", "phone", label=say("field.driverPhone")),
        field("estimatedArrival", "instant", required=True),
    ]


def _answers(status: str) -> Callable[[Subject, Json], Request]:
    return lambda subject, values: Request(
        _partner(subject, "dispatch/confirm"), _body(subject, status=status, **unflat(values))
    )


def _located(status: str) -> Callable[[Subject, Json], Request]:
    return lambda subject, values: Request(
        _partner(subject, "dispatch/location"), _body(subject, status=status, **unflat(values))
    )


def _outcome(subject: Subject) -> list[Json]:
    """Return what the partner's completion and the center's closing ask alike."""
    incident = subject.incident
    ticket, provider, tracking = incident["partnerTicketId"], _provider(incident), incident["locationTracking"]
    return [
        field("completionTime", "instant", value=subject.now),
        *([field("partnerTicketId", value=ticket, required=ticket is not None)] if incident["partner"] else []),
        field("provider.name", label=say("field.providerName"), value=provider["name"], heading=say("head.provider")),
        field("provider.driver.name", label=say("field.driverName"), value=provider["driver"]["name"]),
        field("provider.driver.phone", "phone", label=say("field.driverPhone"), value=provider["driver"]["phone"]),
        _choice(
            "serviceDetails.serviceType",
            _words("kind", list(ServiceType)),
            value=incident["serviceType"],
            heading=say("head.service"),
        ),
        field("serviceDetails.actualDistance", "number", min=0, label=say("field.distance")),
        field("serviceDetails.serviceDuration"),
        field("serviceDetails.pickupLocation", value=(tracking["breakdownLocation"] or {}).get("address")),
        field("serviceDetails.dropoffLocation", value=(tracking["destination"] or {}).get("address")),
        field("serviceDetails.specialEquipment"),
        _money("costDetails.baseFee") | {"heading": say("head.cost")},
        _money("costDetails.distanceFee"),
        _money("costDetails.additionalFee"),
        _money("costDetails.discount"),
        field("costDetails.currency", value="KRW"),
        field("costDetails.paymentMethod"),
        field("costDetails.billingStatus"),
        field("customerFeedback.satisfaction", "number", min=1, max=5, step=1, heading=say("head.feedback")),
        field("customerFeedback.comments", "area"),
        _yes_no("customerFeedback.recommendation"),
        field("followUpRequired", "flag"),
    ]


def _money(name: str) -> Json:
    return field(name, "number", min=0, step=1)


_FEES = ("baseFee", "distanceFee", "additionalFee")


def _provider(incident: Json) -> Json:
    """Return what forms ask of the company that the partner sent, as it is known."""
    known = incident["provider"] or {}
    driver = known.get("driver") or {}
    return {"name": known.get("name"), "driver": {name: driver.get(name) for name in ("name", "phone")}}


def _worked(subject: Subject, values: Json) -> Json:
    """Return what a form of an outcome says.

    The total is what the fees make; without any fee nothing is said of costs. The company is told where it is another
    than was known, with what else is known of it: it replaces that.
    """
    said = unflat(values)
    cost = said.pop("costDetails", {})
    if any(name in cost for name in _FEES):
        total = sum(cost.get(name, 0) for name in _FEES) - cost.get("discount", 0)
        said["costDetails"] = cost | {"totalCost": total}
    details = said.get("serviceDetails", {})
    if "specialEquipment" in details:
        named = [one.strip() for one in details["specialEquipment"].split(",")]
        details["specialEquipment"] = [one for one in named if one]
    provider = _provider({"provider": said.pop("provider", None)})
    if provider != _provider(subject.incident):
        said["provider"] = _given((subject.incident["provider"] or {}) | provider)
    return said


def _given(values: Json) -> Json:
    """Return this without what is null, at any depth."""
    return {
        name: _given(value) if isinstance(value, dict) else value for name, value in values.items() if value is not None
    }


def _complete(subject: Subject, values: Json) -> Request:
    return Request(
        _partner(subject, "service/complete"), _body(subject, status="COMPLETED", **_worked(subject, values))
    )


def _close_rsa_form(subject: Subject, _choices: Choices) -> list[Json]:
    done = subject.incident["status"] == RsaStatus.COMPLETED
    kind = subject.incident["serviceType"]
    result = f"{kind}_COMPLETED" if done and kind else "NOT_COMPLETED"
    return [
        _choice("result", _words("result", list(RsaResult)), required=True, value=result),
        field("notes", "area"),
        *_outcome(subject),
    ]


def _close_rsa(subject: Subject, values: Json) -> Request:
    return Request(_vehicle(subject, "close"), _body(subject, **_as_agent(subject), **_worked(subject, values)))


def _reason(_subject: Subject, _choices: Choices) -> list[Json]:
    return [field("reason", "area")]


def _eta(subject: Subject, _choices: Choices) -> list[Json]:
    return [field("estimatedArrival", "instant", value=subject.incident["locationTracking"]["estimatedArrival"])]


_S, _R = SosStatus, RsaStatus
_OPEN = frozenset({_S.INITIATED, _S.CONNECTED, _S.DISPATCHED})
_TO_SEND = frozenset({_R.REQUESTED, _R.DISPATCHED, _R.REJECTED})
_COMING = frozenset({_R.CONFIRMED, _R.EN_ROUTE})
_AT_WORK = _COMING | {_R.ARRIVED}
_UNCLOSED = _TO_SEND | _AT_WORK | {_R.COMPLETED}


def _notes(_subject: Subject, _choices: Choices) -> list[Json]:
    return [field("notes", "area")]


def _asks_outcome(subject: Subject, _choices: Choices) -> list[Json]:
    return [
        *_outcome(subject),
        field("serviceDetails.estimatedDistance", "number", min=0),
        field("serviceDetails.serviceNotes", "area"),
        field("completionNotes", "area", label=say("field.notes")),
    ]


SOS_ACTIONS = (
    Action("take", _OPEN, _take, _asks_agent, look="primary", lead="act.lead.take", chooses="agents"),
    Action("call_connected", _OPEN, _tells_call("CONNECTED"), look="good"),
    Action("call_ended", _OPEN | {_S.RESOLVED}, _tells_call("ENDED")),
    Action("call_failed", _OPEN, _tells_call("FAILED")),
    Action("dispatch_service", _OPEN, _simple("dispatch"), _send_service_form),
    Action("resolve", _OPEN, _simple("resolve"), _notes),
    Action("close", _OPEN | {_S.RESOLVED}, _close_sos, _close_sos_form, lead="act.lead.close"),
    Action("cancel", _OPEN, _simple("cancel"), _reason, look="danger", lead="act.lead.cancel"),
)
RSA_ACTIONS = (
    Action("dispatch_partner", _TO_SEND, _dispatch, _dispatch_form, look="primary", chooses="partners"),
    Action("confirm", frozenset({_R.DISPATCHED}), _answers("CONFIRMED"), _confirm_form, look="good", as_partner=True),
    Action("reject", _COMING | {_R.DISPATCHED}, _answers("REJECTED"), _reason, as_partner=True),
    Action("en_route", frozenset({_R.CONFIRMED}), _located("EN_ROUTE"), _eta, as_partner=True),
    Action("arrived", _COMING, _located("ARRIVED"), as_partner=True),
    Action("complete", _AT_WORK, _complete, _asks_outcome, look="good", as_partner=True),
    Action("close", _UNCLOSED, _close_rsa, _close_rsa_form, lead="act.lead.close"),
    Action("cancel", _UNCLOSED - {_R.COMPLETED}, _simple("cancel"), _reason, look="danger", lead="act.lead.cancel"),
)
_ALL = {"SOS": SOS_ACTIONS, "RSA": RSA_ACTIONS}


def offered(subject: Subject) -> list[Action]:
    """Return what can be done now by whoever looks, the most likely first."""
    status = subject.incident["status"]
    found = [action for action in _ALL[subject.service] if status in action.statuses]
    if subject.who.role is not Role.OPERATOR:
        found = [action for action in found if not action.as_partner]
    if subject.service == "SOS":
        found = [action for action in found if _makes_sense(action.name, subject)]
    return found


def _makes_sense(name: str, subject: Subject) -> bool:
    """Tell whether an action on an SOS would change anything, as far as its answer tells."""
    call = (subject.incident["voiceCall"] or {}).get("status")
    has = subject.incident["contactCenter"]["agentId"]
    match name:
        case "take":
            return has is None or has != subject.who.agent_id
        case "call_connected":
            return call != "CONNECTED"
        case "call_ended":
            return call == "CONNECTED"
        case "call_failed":
            return call == "CONNECTING"
        case _:
            return True


def buttons(actions: Sequence[Action]) -> list[Json]:
    """Return the actions as the browser's part takes them."""
    return [{"name": action.name, "label": say(f"act.{action.name}"), "look": action.look} for action in actions]


def named(subject: Subject, name: str) -> Action:
    """Return an action of the incident's service. Raises KeyError."""
    return {action.name: action for action in _ALL[subject.service]}[name]


def filled(form: Json, subject: Subject) -> Json:
    """Return what a form's fields were filled with, the present time left out: the part that was read before."""
    return {one["name"]: one["value"] for one in form["fields"] if one.get("value") not in (None, subject.now)}


def form_of(action: Action, subject: Subject, choices: Choices) -> Json | None:
    """Return the form that the action asks for, None where it asks for nothing."""
    fields = action.form(subject, choices) if action.form is not None else []
    if not fields:
        return None
    label = say(f"act.{action.name}")
    return {
        "name": action.name,
        "title": f"{label} · {subject.cid}",
        "lead": say(action.lead, cid=subject.cid) if action.lead else "",
        "fields": fields,
        "submit": label,
        "back": say("back"),
        "look": action.look or "primary",
    }
