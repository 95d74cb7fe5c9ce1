-- name: relations
-- By name as the default search path has it: what analysts read has its schema before it.
SELECT c.oid, c.oid::regclass::text AS name, c.relkind::text, obj_description(c.oid, 'pg_class')
FROM pg_class c
WHERE c.relnamespace IN ('public'::regnamespace, 'analytics'::regnamespace) AND c.relkind IN ('r', 'v')
ORDER BY c.relnamespace = 'analytics'::regnamespace, c.relname;

-- name: functions
-- What may be called by analysts, and what it is made of.
SELECT p.oid::regprocedure::text, obj_description(p.oid, 'pg_proc') FROM pg_proc p
WHERE p.pronamespace IN ('public'::regnamespace, 'analytics'::regnamespace)
  AND p.proretset AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
ORDER BY 1;

-- name: columns
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
       a.attidentity <> '', col_description(a.attrelid, a.attnum)
FROM pg_attribute a
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %(relation)s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum;

-- name: constraints
SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %(relation)s AND contype <> 'n' ORDER BY 1;

-- name: indexes
SELECT pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = %(relation)s AND NOT indisprimary ORDER BY 1;

-- name: dimensions
SELECT hypertable_name, column_name, time_interval::text FROM timescaledb_information.dimensions
WHERE hypertable_schema = 'public' ORDER BY 1;

-- name: readable
-- What the analysts' role may read: a whole relation, or named columns of it.
SELECT c.oid::regclass::text, has_table_privilege('analyst', c.oid, 'SELECT'),
       (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          AND has_column_privilege('analyst', c.oid, a.attnum, 'SELECT'))
FROM pg_class c
WHERE c.relnamespace IN ('public'::regnamespace, 'analytics'::regnamespace) AND c.relkind IN ('r', 'v')
ORDER BY c.relnamespace = 'analytics'::regnamespace, c.relname;
