-- What those who come with a token of the identity provider may do: the token proves who they are, this what is theirs.

CREATE TABLE grants (
    grant_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject       text NOT NULL CHECK (length(subject) BETWEEN 1 AND 255),
    role          text NOT NULL
        CHECK (role IN ('owner', 'guardian', 'driver', 'agent', 'partner', 'analyst', 'operator')),
    vin           text REFERENCES vehicles,
    every_vehicle boolean NOT NULL DEFAULT false,
    agent_id      text REFERENCES agents,
    partner       text REFERENCES partners,
    granted_at    timestamptz NOT NULL,
    revoked_at    timestamptz,
    CHECK (vin IS NULL OR NOT every_vehicle),
    CHECK ((partner IS NOT NULL) = (role = 'partner')),
    CHECK (agent_id IS NULL OR role = 'agent')
);
CREATE UNIQUE INDEX grants_valid ON grants (subject, role, coalesce(vin, '')) WHERE revoked_at IS NULL;
COMMENT ON TABLE grants IS 'What the subject of a token may do, and with which vehicle; a revoked grant is kept.';
COMMENT ON COLUMN grants.subject IS 'The claim `sub` of the tokens of the one issuer that is trusted (TCU_JWT_ISSUER).';
COMMENT ON COLUMN grants.vin IS 'Null: no vehicle, or with every_vehicle all of them.';
