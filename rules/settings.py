"""What can be set from outside for the rules process."""

from datetime import timedelta

from pydantic import Field

from db.settings import DatabaseSettings


class RulesSettings(DatabaseSettings):
    """The variables of the rules process, each with the prefix TCU_; webhooks are what partners are sent."""

    webhook_timeout_s: float = Field(default=10, gt=0, le=60, description="seconds that an attempt may take in all")
    webhook_retry_first_s: float = Field(default=15, gt=0, description="seconds until the second attempt")
    webhook_retry_most_s: float = Field(default=300, gt=0, description="most seconds between two attempts")
    webhook_parallel: int = Field(default=4, ge=1, le=100, description="attempts at a time for each receiver")

    @property
    def webhook_lease(self) -> timedelta:
        """How long an attempt keeps a delivery to itself: an attempt that outlasts it was killed."""
        return timedelta(seconds=2 * self.webhook_timeout_s)
