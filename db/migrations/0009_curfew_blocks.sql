-- A start block is tried at the next sight of a standing vehicle, not only when its engine is seen to change.

ALTER TABLE curfew_watch ADD COLUMN block_from timestamptz;
COMMENT ON COLUMN curfew_watch.block_from IS
    'From then on the next sight of the engine standing is judged, for a start block may follow; null where none is wanted.';
