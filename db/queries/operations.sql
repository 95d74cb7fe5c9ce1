-- name: sample
-- Keeps what the processes measured just now, without their jobs; those that are dead by their heartbeat are left out.
INSERT INTO operations_samples (sampled_at, processes, connected_vehicles, quarantined)
SELECT %(at)s,
       (SELECT coalesce(jsonb_object_agg(name, figures - 'jobs'), '{}') FROM processes WHERE beat_at >= %(alive_since)s),
       (SELECT count(*) FROM vehicle_presence WHERE online),
       (SELECT count(*) FROM quarantine WHERE replayed_at IS NULL)
ON CONFLICT (sampled_at) DO NOTHING;

-- name: samples
SELECT sampled_at, processes, connected_vehicles, quarantined FROM operations_samples
WHERE sampled_at >= %(since)s ORDER BY sampled_at;
