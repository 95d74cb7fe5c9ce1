-- name: put
INSERT INTO partners (partner, name, phone) VALUES (%(partner)s, %(name)s, %(phone)s)
ON CONFLICT (partner) DO UPDATE SET name = excluded.name, phone = coalesce(excluded.phone, partners.phone);

-- name: get
SELECT partner, name, phone FROM partners WHERE partner = %(partner)s;

-- name: list_all
SELECT partner, name, phone FROM partners ORDER BY partner;
