"""`limit` and `offset` as in the curfew guide."""

from typing import Annotated

from fastapi import Query

Limit = Annotated[int, Query(ge=1, le=200, description="most entries of a page")]
Offset = Annotated[int, Query(ge=0, le=1_000_000_000, description="entries before the page")]
DEFAULT_LIMIT = 50
CURFEW_LIMIT = 10
"""What the curfew guide's own lists show."""
