-- What analysts read, day by day (UTC): a view is read from `since` on and before `until`.

-- name: status
SELECT * FROM analytics.status WHERE occurred_at >= %(since)s AND occurred_at < %(until)s;

-- name: engine_events
SELECT * FROM analytics.engine_events WHERE occurred_at >= %(since)s AND occurred_at < %(until)s;

-- name: trips
SELECT * FROM analytics.trips_between(%(since)s, %(until)s);

-- name: incidents
SELECT * FROM analytics.incidents WHERE occurred_at >= %(since)s AND occurred_at < %(until)s;

-- name: violations
SELECT * FROM analytics.violations WHERE started_at >= %(since)s AND started_at < %(until)s;
