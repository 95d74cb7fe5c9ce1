"""Tables with a past, filled by the database itself."""

import psycopg

AT_ONCE = 1_000_000
HOURS = 24


def fill_status(url: str, rows: int) -> None:
    """Store so many samples of 2,000 vehicles over the last 24 hours, in the order of their time, up to 10 minutes ago.

    So the newest chunk grows with the table, which is what a larger fleet does to it. The index is built at the end, in
    a tenth of the time, and as a whole.
    """
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SET synchronous_commit = off")
        conn.execute(
            "INSERT INTO vehicles (vin) SELECT 'KMHFLEET' || lpad(n::text, 9, '0') FROM generate_series(1, 2000) n"
            " ON CONFLICT DO NOTHING"
        )
        index = conn.execute("SELECT pg_get_indexdef('vehicle_status_latest'::regclass)").fetchone()
        if index is None:
            raise ValueError("expected the index vehicle_status_latest")
        conn.execute("DROP INDEX vehicle_status_latest")
        for start in range(0, rows, AT_ONCE):
            conn.execute(
                "INSERT INTO vehicle_status (vin, message_id, occurred_at, received_at, clock_suspect, latitude,"
                " longitude, accuracy_m, heading_deg, speed_kph, odometer_km, battery_voltage, fuel_level,"
                " engine_status, transmission_status, drivable, dtc_codes)"
                " SELECT 'KMHFLEET' || lpad((1 + n %% 2000)::text, 9, '0'), gen_random_uuid(), at, at, false,"
                " 37 + random(), 126 + random(), 5, n %% 360, n %% 100, 10000 + n / 20000.0, 14.1, 55,"
                " CASE WHEN n / 2000 %% 120 = 0 THEN 'OFF' ELSE 'ON' END, 'DRIVE', true,"
                " CASE WHEN n %% 5000 = 0 THEN '{P0301}'::text[] ELSE '{}'::text[] END"
                " FROM (SELECT n, now() - interval '10 minutes' - (%s - n) * (interval '1 hour' * %s / %s) AS at"
                " FROM generate_series(%s::bigint, %s::bigint) n) s",
                (rows, HOURS, rows, start, min(start + AT_ONCE, rows) - 1),
            )
        conn.execute("SET maintenance_work_mem = '512MB'")
        conn.execute(str(index[0]).encode())
        conn.execute("VACUUM ANALYZE vehicle_status")
