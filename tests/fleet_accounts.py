"""What a fleet's report says it has sent, against what the database holds, to the message.

`. .run/env; python -m tests.fleet_accounts --vehicles 2000 --rate 1 --seconds 600` drives a fleet beside a running
stack, prints its report and the accounts, and exits with 1 where they differ. It issues missing certificates.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from db import vehicles
from db.pool import Connection, connect
from mosquitto import pki
from schemas.demo import fleet_vin
from schemas.topics import RECEIPTED

STORED_WITHIN_S = 60
"""The broker has a status sample before the database has it."""

Accounts = dict[str, int]


def reported(report: dict[str, Any]) -> Accounts:
    """Return what the fleet says it has sent."""
    urgent = {kind: count for kind, count in report["urgentSent"].items() if count}
    return {"status": report["statusSent"], "quarantined": 0} | urgent | report["incidents"]


def stored(conn: Connection, vins: Sequence[str], since: datetime) -> Accounts:
    """Return what the database holds of these vehicles from an instant on."""

    def rows(columns: str, table: str) -> list[tuple[Any, ...]]:
        query = f"SELECT {columns} FROM {table} WHERE vin = ANY(%s) AND received_at >= %s"  # noqa: S608 - names of ours
        return conn.execute((query + " GROUP BY 1").encode(), (list(vins), since)).fetchall()

    by_kind = {kind: count for kind, count in rows("kind, count(*)", "received_messages") if kind in RECEIPTED}
    counts = {
        name: sum(count for _, count in rows("vin, count(*)", table))
        for name, table in (
            ("status", "vehicle_status"), ("quarantined", "quarantine"), ("SOS", "sos_incidents"),
            ("RSA", "rsa_incidents"), ("engine events", "engine_events"),
        )
    }  # fmt: skip
    if counts.pop("engine events") != by_kind.get("engine", 0):
        raise AssertionError("claimed engine messages and stored ones differ")
    return {name: count for name, count in counts.items() if count or name in {"status", "quarantined"}} | by_kind


def stored_in_the_end(conn: Connection, vins: Sequence[str], since: datetime, expected: Accounts) -> Accounts:
    """Return what the database holds once it is as expected, or when it should have been."""
    until_s = time.monotonic() + STORED_WITHIN_S
    while (found := stored(conn, vins, since)) != expected and time.monotonic() < until_s:
        conn.rollback()
        time.sleep(0.5)
    return found


def main() -> int:
    """Drive, compare, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vehicles", type=int, required=True)
    parser.add_argument("--rate", default="1")
    parser.add_argument("--seconds", default="600")
    parser.add_argument("--presses-per-minute", default="10")
    parser.add_argument("--traffic", default="commute")
    chosen = parser.parse_args()
    vins = [fleet_vin(number) for number in range(1, chosen.vehicles + 1)]
    directory = Path(os.environ["TCU_PKI_DIR"])
    for vin in vins:
        if not (directory / "vehicles" / f"{vin}.crt").is_file():
            pki.issue_vehicle(directory, vin)
    with connect(os.environ["TCU_DATABASE_URL"], name="tests") as conn:
        vehicles.register(conn, vins)
        conn.commit()
        since = datetime.now(UTC)
        options = {"--vehicles": f"{chosen.vehicles}", "--rate": chosen.rate, "--seconds": chosen.seconds}
        options |= {"--presses-per-minute": chosen.presses_per_minute, "--traffic": chosen.traffic}
        command = [
            sys.executable,
            "-m",
            "simulator",
            "fleet",
            "--json",
            *(word for pair in options.items() for word in pair),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as fleet:
            assert fleet.stdout is not None
            for line in fleet.stdout:
                if '"kind": "notice"' not in line:
                    print(line, end="", flush=True)  # noqa: T201
                last = line
        report = json.loads(last)
        expected = reported(report)
        found = stored_in_the_end(conn, vins, since, expected)
    print(json.dumps({"reported": expected, "stored": found, "agree": found == expected}, indent=2))  # noqa: T201
    return 0 if found == expected and not report["unreceipted"] and fleet.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
