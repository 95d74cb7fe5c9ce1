-- name: count
-- One more request of the caller. A minute begins with the first request after the one before has ended.
INSERT INTO request_counts AS c (who, policy, began_at, used) VALUES (%(who)s, %(policy)s, clock_timestamp(), 1)
ON CONFLICT (who, policy) DO UPDATE SET
    used = CASE WHEN c.began_at <= excluded.began_at - interval '1 minute' THEN 1 ELSE c.used + 1 END,
    began_at = CASE WHEN c.began_at <= excluded.began_at - interval '1 minute' THEN excluded.began_at ELSE c.began_at END
RETURNING used, greatest(0, extract(epoch FROM began_at + interval '1 minute' - clock_timestamp()))::float8;

-- name: one_at_a_time
-- Two processes that open a stream for the same caller at once must see each other's.
SELECT pg_advisory_xact_lock(hashtextextended('open_streams ' || %(who)s, 0));

-- name: open_stream
INSERT INTO open_streams (who, process)
SELECT %(who)s, %(process)s
WHERE %(most)s > (SELECT count(*) FROM open_streams s
                  WHERE s.who = %(who)s
                    AND (s.process = %(process)s OR EXISTS (SELECT FROM processes p
                         WHERE p.name = s.process AND p.beat_at > now() - interval '15 seconds')))
RETURNING stream_id;

-- name: close_streams
DELETE FROM open_streams WHERE stream_id = ANY(%(stream_ids)s);

-- name: forget_process
-- A new process may have the name of one that was killed.
DELETE FROM open_streams WHERE process = %(process)s;
