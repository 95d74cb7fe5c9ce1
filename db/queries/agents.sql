-- name: put
INSERT INTO agents (agent_id, name, extension) VALUES (%(agent_id)s, %(name)s, %(extension)s)
ON CONFLICT (agent_id) DO UPDATE SET name = excluded.name, extension = coalesce(excluded.extension, agents.extension);

-- name: get
SELECT agent_id, name, extension, availability, changed_at FROM agents WHERE agent_id = %(agent_id)s;

-- name: list_all
SELECT agent_id, name, extension, availability, changed_at FROM agents ORDER BY agent_id;

-- name: longest_idle
SELECT agent_id, name, extension, availability, changed_at FROM agents
WHERE availability = 'AVAILABLE' ORDER BY changed_at, agent_id LIMIT 1;

-- name: set_availability
UPDATE agents SET availability = %(availability)s, changed_at = %(changed_at)s WHERE agent_id = %(agent_id)s;

-- name: count_on_duty
SELECT count(*) FROM agents WHERE availability <> 'OFFLINE';
