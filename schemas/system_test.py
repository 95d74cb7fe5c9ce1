"""The SOS service's test of itself: what is asked, and what each scenario measured (SOS guide, SOS Test Request)."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from schemas.base import Instant, ShortText, Vin, Wire

TEST_VIN = "TESTTESTTEST00001"
"""The vehicle that presses in a test: no car has this number, and every press of it is a test call."""


class SystemTestType(StrEnum):
    """The guide knows one type; the scenarios say what is tested."""

    FULL_SYSTEM = "FULL_SYSTEM"


class Scenario(StrEnum):
    """What can be tested."""

    VOICE_CONNECT = "VOICE_CONNECT"
    DATA_TRANSFER = "DATA_TRANSFER"
    DISPATCH_SIMULATION = "DISPATCH_SIMULATION"


class ScenarioStatus(StrEnum):
    """What came of a scenario; SKIPPED where nothing is attached that could be tested."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"


class VehicleUnderTest(Wire):
    """The vehicle that the test is about; nothing is pressed in its name."""

    vin: Vin
    model: ShortText | None = None
    year: Annotated[int, Field(ge=1900, le=2200)] | None = None


class SystemTestParameters(Wire):
    """How long a test may take in all, in seconds, and how often the press is sent again; both within our bounds."""

    timeout: Annotated[int, Field(ge=1, le=3600)] = 10
    retry_attempts: Annotated[int, Field(ge=0, le=100)] = 3
    detailed_logging: bool = False


class SystemTestRequest(Wire):
    """What is to be tested (guide, SOS Test Request)."""

    test_type: SystemTestType = SystemTestType.FULL_SYSTEM
    test_vehicle: VehicleUnderTest
    test_scenarios: Annotated[tuple[Scenario, ...], Field(min_length=1, max_length=10)] = tuple(Scenario)
    test_parameters: SystemTestParameters = SystemTestParameters()


class ScenarioResult(Wire):
    """What every scenario tells; `reason` says why it failed or was skipped."""

    status: ScenarioStatus
    response_time: str | None
    response_time_seconds: float | None
    reason: str | None


class VoiceConnectResult(ScenarioResult):
    """The voice system is another company's."""

    audio_quality: str | None


class DataTransferResult(ScenarioResult):
    """A marked press went the whole way; seconds from its sending to receipt, stored incident and event stream."""

    data_integrity: str | None
    cid: str | None
    sent: int
    receipt_seconds: float | None
    stored_seconds: float | None
    stream_seconds: float | None


class DispatchSimulationResult(ScenarioResult):
    """The dispatch system is another company's."""

    notification_delivered: bool | None


class ScenarioResults(Wire):
    """By scenario; null where it was not asked for."""

    voice_connect: VoiceConnectResult | None
    data_transfer: DataTransferResult | None
    dispatch_simulation: DispatchSimulationResult | None


class OverallResult(Wire):
    """The share of what passed among what ran, in per cent; null where nothing ran."""

    status: ScenarioStatus
    score: float | None
    recommendations: tuple[str, ...]


class UsedParameters(Wire):
    """What the test went by after our bounds."""

    timeout: int
    retry_attempts: int


class SystemTestResponse(Wire):
    """What a test measured (guide, SOS Test Response); the duration in seconds."""

    test_id: str
    test_type: SystemTestType
    status: str
    timestamp: Instant
    duration: int
    duration_seconds: float
    test_vehicle: VehicleUnderTest
    test_parameters: UsedParameters
    results: ScenarioResults
    overall: OverallResult
