-- name: get
SELECT broker, keeps_shared, checked_at FROM broker_checks WHERE broker = %(broker)s;

-- name: put
INSERT INTO broker_checks (broker, keeps_shared, checked_at)
VALUES (%(broker)s, %(keeps_shared)s, %(checked_at)s)
ON CONFLICT (broker) DO UPDATE SET keeps_shared = excluded.keeps_shared, checked_at = excluded.checked_at;
