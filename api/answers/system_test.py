"""What a system test measured, as the SOS guide's answer."""

from collections.abc import Sequence
from datetime import datetime

from api.answers.words import milliseconds
from api.system_test import Transfer
from schemas import system_test as wire
from schemas.system_test import Scenario, ScenarioResult, ScenarioStatus

_NO_VOICE = "no voice system is attached"
_NO_DISPATCH = "no dispatch system is attached"


def transfer_result(transfer: Transfer) -> wire.DataTransferResult:
    """Return what became of the press; the response time ends where streams show it."""
    stored = transfer.stored_s is not None
    return wire.DataTransferResult(
        status=ScenarioStatus.PASSED if transfer.passed else ScenarioStatus.FAILED,
        response_time=milliseconds(transfer.stream_s),
        response_time_seconds=_rounded(transfer.stream_s),
        reason=transfer.reason,
        data_integrity=("MISMATCH" if transfer.differing else "VERIFIED") if stored else None,
        cid=transfer.cid,
        sent=transfer.sent,
        receipt_seconds=_rounded(transfer.receipt_s),
        stored_seconds=_rounded(transfer.stored_s),
        stream_seconds=_rounded(transfer.stream_s),
    )


def transfer_skipped(reason: str) -> wire.DataTransferResult:
    """Return that nothing was pressed, and why."""
    return wire.DataTransferResult(
        **_skipped(reason), data_integrity=None, cid=None, sent=0, receipt_seconds=None, stored_seconds=None,
        stream_seconds=None,
    )  # fmt: skip


def results(asked: Sequence[Scenario], data_transfer: wire.DataTransferResult | None) -> wire.ScenarioResults:
    """Return the results of what was asked for."""
    voice, dispatch = Scenario.VOICE_CONNECT in asked, Scenario.DISPATCH_SIMULATION in asked
    return wire.ScenarioResults(
        voice_connect=wire.VoiceConnectResult(**_skipped(_NO_VOICE), audio_quality=None) if voice else None,
        data_transfer=data_transfer,
        dispatch_simulation=wire.DispatchSimulationResult(**_skipped(_NO_DISPATCH), notification_delivered=None)
        if dispatch
        else None,
    )


def overall(measured: wire.ScenarioResults) -> wire.OverallResult:
    """Return the share of what passed among what ran, and what is to be looked at."""
    named: dict[str, ScenarioResult | None] = {
        Scenario.VOICE_CONNECT: measured.voice_connect,
        Scenario.DATA_TRANSFER: measured.data_transfer,
        Scenario.DISPATCH_SIMULATION: measured.dispatch_simulation,
    }
    ran = {name: result for name, result in named.items() if result and result.status is not ScenarioStatus.SKIPPED}
    failed = [name for name, result in ran.items() if result.status is ScenarioStatus.FAILED]
    advice = [f"{name} failed: {ran[name].reason}" for name in failed]
    if ran and not failed:
        advice.append("No issues detected")
    advice += [
        f"{name} was not tested: {result.reason}"
        for name, result in named.items()
        if result and result.status is ScenarioStatus.SKIPPED
    ]
    status = ScenarioStatus.FAILED if failed else ScenarioStatus.PASSED if ran else ScenarioStatus.SKIPPED
    score = round(100 * (len(ran) - len(failed)) / len(ran), 1) if ran else None
    return wire.OverallResult(status=status, score=score, recommendations=tuple(advice))


def response(
    request: wire.SystemTestRequest,
    measured: wire.ScenarioResults,
    used: wire.UsedParameters,
    *,
    test_id: str,
    started_at: datetime,
    finished_at: datetime,
) -> wire.SystemTestResponse:
    """Return the SOS guide's SOS Test Response."""
    duration_s = (finished_at - started_at).total_seconds()
    return wire.SystemTestResponse(
        test_id=test_id,
        test_type=request.test_type,
        status="COMPLETED",
        timestamp=finished_at,
        duration=round(duration_s),
        duration_seconds=round(duration_s, 3),
        test_vehicle=request.test_vehicle,
        test_parameters=used,
        results=measured,
        overall=overall(measured),
    )


def _skipped(reason: str) -> dict[str, object]:
    return {
        "status": ScenarioStatus.SKIPPED,
        "response_time": None,
        "response_time_seconds": None,
        "reason": reason,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
