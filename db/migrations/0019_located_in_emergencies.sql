-- An SOS excepts the whole vehicle while it is open: who looks for it needs to see where it goes.

CREATE VIEW unlocated_vehicles AS
SELECT v.vin FROM vehicles v
WHERE v.location_withheld
  AND NOT EXISTS (SELECT FROM sos_incidents s
                  WHERE s.vin = v.vin AND NOT s.test_call AND s.status IN ('INITIATED', 'CONNECTED', 'DISPATCHED'));
COMMENT ON VIEW unlocated_vehicles IS
    'Vehicles whose places are neither stored nor shown now: withheld, and no emergency is open.';

-- The newest by event time, whatever came last: late data cannot overwrite it.
CREATE OR REPLACE VIEW vehicle_state AS
SELECT v.vin, p.online, p.changed_at AS presence_changed_at,
       s.occurred_at, s.received_at, s.clock_suspect,
       CASE WHEN u.vin IS NULL THEN s.latitude END AS latitude,
       CASE WHEN u.vin IS NULL THEN s.longitude END AS longitude,
       CASE WHEN u.vin IS NULL THEN s.accuracy_m END AS accuracy_m,
       CASE WHEN u.vin IS NULL THEN s.heading_deg END AS heading_deg,
       s.speed_kph,
       s.odometer_km, s.battery_voltage, s.fuel_level, s.engine_status, s.transmission_status, s.drivable, s.dtc_codes,
       e.event AS engine_event, e.occurred_at AS engine_event_at
FROM vehicles v
LEFT JOIN unlocated_vehicles u ON u.vin = v.vin
LEFT JOIN vehicle_presence p ON p.vin = v.vin
LEFT JOIN LATERAL (SELECT * FROM vehicle_status vs WHERE vs.vin = v.vin ORDER BY vs.occurred_at DESC LIMIT 1) s ON true
LEFT JOIN LATERAL (SELECT * FROM engine_events ee WHERE ee.vin = v.vin ORDER BY ee.occurred_at DESC LIMIT 1) e ON true;

COMMENT ON COLUMN vehicles.location_withheld IS
    'The driver has withdrawn the consent to LOCATION: but in an open SOS, places are neither stored nor shown.';
