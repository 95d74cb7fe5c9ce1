"""The scheduled jobs (APScheduler) and the event sequencer: any number may run, one is elected.

The only place in rules that reads the clock, beside the sender of webhooks.
"""

import os
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from threading import Event

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from db import commands as db_commands
from db import curfew as db_curfew
from db import events, incidents, operations, processes
from db.errors import DatabaseError
from db.pool import PROMPT_WITHIN_S, Connection, connect
from db.processes import Process, try_lead
from rules import retention
from rules.apply import commands, curfew, overdue, presence, sos
from rules.logs import brief
from rules.sender import WebhookSender
from rules.settings import RulesSettings
from schemas.base import format_instant

log = structlog.get_logger()

ROLE = "rules"
POLL_S = 0.5


def serve_queue(conn: Connection, now: datetime) -> None:
    """Give waiting SOS incidents to idle counselors; a net below the transactions that do so at once."""
    incidents.lock(conn)
    sos.serve_queue(conn, now=now)


def raise_overdue(conn: Connection, now: datetime) -> None:
    """Tell the call center of partners that are late or do not answer."""
    overdue.raise_delayed(conn, now=now)
    overdue.raise_unanswered(conn, now=now)


def judge_curfews(conn: Connection, now: datetime) -> None:
    """Judge vehicles that status messages showed to change, or for which a window opened or a severity rose."""
    for vin in db_curfew.due(conn, now=now, limit=1000):
        try:
            with conn.transaction():
                curfew.judge_due(conn, vin, now=now)
        except Exception as error:  # a defect in a rule must not keep the other vehicles from being judged
            if isinstance(error, DatabaseError):
                raise
            log.exception("judgement_failed")
        conn.commit()


def announce_exceptions(conn: Connection, now: datetime) -> None:
    """Tell of exceptions that have begun or ended."""
    curfew.announce_exceptions(conn, db_curfew.exceptions_to_announce(conn, now=now), now=now)


def send_commands(conn: Connection, now: datetime) -> None:
    """Send commands without an answer again, and end those whose time is over."""
    for due in db_commands.due(conn, now=now, limit=500):
        db_curfew.lock_watches(conn, [due.vin])
        command = db_commands.get(conn, due.command_id)
        if command is not None and command.outcome == "PENDING":  # not answered meanwhile
            commands.send_again_or_expire(conn, command, now=now)
        conn.commit()


def follow_presence(conn: Connection, now: datetime) -> None:
    """Take for offline the vehicles from which nothing has come for long, though no last will said so."""
    presence.follow(conn, now=now)


def sample_operations(conn: Connection, now: datetime) -> None:
    """Keep what the processes measure, for the operator's plots."""
    operations.sample(conn, at=now)


Job = Callable[[Connection, datetime], None]

JOBS: dict[Job, timedelta] = {
    serve_queue: timedelta(seconds=10),
    raise_overdue: timedelta(seconds=10),
    judge_curfews: timedelta(seconds=0.5),
    announce_exceptions: timedelta(seconds=5),
    send_commands: timedelta(seconds=2),
    follow_presence: timedelta(seconds=30),
    sample_operations: timedelta(seconds=10),
}
"""Each runs in a transaction of its own, late rather than never, and may run twice without effect."""

PRUNED_EVERY = timedelta(minutes=1)
"""Often, and each time only a little."""

FIRST_AFTER = timedelta(seconds=2)
"""Soon after the start, so that what is rare comes also in a process that is often started anew."""


@dataclass(frozen=True, slots=True)
class JobRun:
    """How often a job runs, and its last run while this process led: when, how long, and the failures so far."""

    every_s: float
    ran_at: str | None = None
    took_s: float | None = None
    failures: int = 0


class Elected:
    """This process's part: it number events and runs the jobs while it leads, and stands by while another does."""

    def __init__(self, settings: RulesSettings) -> None:
        self._url = settings.database_url
        self._terms = settings.terms
        self._started_at = datetime.now(UTC)
        self._numbered = 0
        self.leading = False
        self._runs: dict[str, JobRun] = {}
        self._webhooks = WebhookSender(settings, lambda: self.leading)

    def run(self, stopping: Event) -> None:
        """Work until `stopping` is set; a lost database is waited for. Raises RuntimeError if the sender breaks."""
        # APScheduler leaves out a run that would begin over a second late: the machine slept, or was busy.
        once_but_late = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        scheduler = BackgroundScheduler(timezone=UTC, job_defaults=once_but_late)
        first = datetime.now(UTC) + FIRST_AFTER
        for job, every in (JOBS | {self._prune: PRUNED_EVERY}).items():
            scheduler.add_job(self._run_job, "interval", [job], seconds=every.total_seconds(), next_run_time=first)
            self._runs[_named(job)] = JobRun(every_s=every.total_seconds())
        scheduler.add_job(self._beat, "interval", seconds=2, next_run_time=datetime.now(UTC))
        scheduler.start()
        self._webhooks.start()
        try:
            while not stopping.is_set():
                try:
                    with connect(
                        self._url, name="rules-sequencer", autocommit=True, answer_within_s=PROMPT_WITHIN_S
                    ) as conn:
                        self._lead(conn, stopping)
                except DatabaseError as error:
                    log.warning("sequencer_interrupted", error=brief(error))
                self.leading = False
                self._check_sender()
                stopping.wait(0.5)
        finally:
            self._webhooks.stop()
            scheduler.shutdown()

    def _check_sender(self) -> None:
        if self._webhooks.failed:
            raise RuntimeError("the sender of webhooks ended")

    def _lead(self, conn: Connection, stopping: Event) -> None:
        while not try_lead(conn, ROLE):
            if stopping.wait(0.5):
                return
        self.leading = True
        log.info("elected")
        events.listen(conn, "events_appended")
        self._numbered += events.sequence(conn)
        self._beat()  # until then health says that nobody leads
        while not stopping.is_set():
            self._check_sender()
            numbered = events.sequence(conn)
            self._numbered += numbered
            if not numbered:
                events.wait(conn, timeout_s=POLL_S)

    def _prune(self, conn: Connection, now: datetime) -> None:
        retention.prune(conn, now, terms=self._terms)

    def _run_job(self, job: Job) -> None:
        if not self.leading:
            return
        now, failed = datetime.now(UTC), 0
        try:
            with connect(self._url, name=f"rules-{_named(job)}") as conn:
                job(conn, now)
        except DatabaseError as error:
            failed = 1
            log.warning("job_failed", job=_named(job), error=brief(error))
        run = self._runs[_named(job)]
        took_s = round((datetime.now(UTC) - now).total_seconds(), 3)
        self._runs[_named(job)] = JobRun(run.every_s, format_instant(now), took_s, run.failures + failed)

    def _beat(self) -> None:
        jobs = {name: asdict(run) for name, run in list(self._runs.items())}
        beat = Process(
            name=f"rules@{socket.gethostname()}:{os.getpid()}",
            started_at=self._started_at,
            beat_at=datetime.now(UTC),
            ready=self.leading,
            figures={"standing_by": not self.leading, "events_numbered": self._numbered, "jobs": jobs},
        )
        try:
            with connect(self._url, name="rules-heartbeat", autocommit=True, answer_within_s=PROMPT_WITHIN_S) as conn:
                processes.beat(conn, beat)
        except DatabaseError as error:
            log.warning("heartbeat_failed", error=brief(error))


def _named(job: Job) -> str:
    return job.__name__.lstrip("_")
