"""What can be set from outside for the rules process."""

from datetime import timedelta

from pydantic import Field

from db.settings import DatabaseSettings
from rules.retention import TELEMETRY_LEAST, Terms


class RulesSettings(DatabaseSettings):
    """The variables of the rules process, each with the prefix TCU_; webhooks are what partners are sent."""

    webhook_timeout_s: float = Field(default=10, gt=0, le=60, description="seconds that an attempt may take in all")
    webhook_retry_first_s: float = Field(default=15, gt=0, description="seconds until the second attempt")
    webhook_retry_most_s: float = Field(default=300, gt=0, description="most seconds between two attempts")
    webhook_parallel: int = Field(default=4, ge=1, le=100, description="attempts at a time for each receiver")

    keep_telemetry_days: int = Field(
        default=Terms().vehicle_status.days,
        ge=TELEMETRY_LEAST.days,
        description="days that status and engine events are kept",
    )
    keep_quarantine_days: int = Field(
        default=Terms().quarantine.days, ge=1, description="days that messages that could not be read are kept"
    )
    keep_incidents_days: int = Field(
        default=Terms().sos_incidents.days, ge=90, description="days that incidents are kept after their last change"
    )

    @property
    def terms(self) -> Terms:
        """How long each table keeps its rows."""
        telemetry = timedelta(days=self.keep_telemetry_days)
        quarantine = timedelta(days=self.keep_quarantine_days)
        incidents = timedelta(days=self.keep_incidents_days)
        return Terms(
            vehicle_status=telemetry,
            engine_events=telemetry,
            quarantine=quarantine,
            sos_incidents=incidents,
            rsa_incidents=incidents,
        )

    @property
    def webhook_lease(self) -> timedelta:
        """How long an attempt keeps a delivery to itself: an attempt that outlasts it was killed."""
        return timedelta(seconds=2 * self.webhook_timeout_s)
