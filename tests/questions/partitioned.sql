-- Partitions, views over views, a materialized view, row-level security.
CREATE SCHEMA fleet;
SET search_path = fleet;
CREATE TABLE vehicles (id int PRIMARY KEY, plate text UNIQUE NOT NULL, kind text NOT NULL, bought date);
CREATE TABLE drivers (id int PRIMARY KEY, name text NOT NULL, boss int REFERENCES drivers);
CREATE TABLE trips (id bigint, vehicle int NOT NULL REFERENCES vehicles, driver int REFERENCES drivers, began timestamptz NOT NULL, ended timestamptz, km numeric(7, 1), tags text[] NOT NULL DEFAULT '{}', extra jsonb, PRIMARY KEY (id, began)) PARTITION BY RANGE (began);
CREATE TABLE trips_2025_01 PARTITION OF trips FOR VALUES FROM ('2025-01-01Z') TO ('2025-02-01Z');
CREATE TABLE trips_2025_02 PARTITION OF trips FOR VALUES FROM ('2025-02-01Z') TO ('2025-03-01Z');
CREATE TABLE trips_later PARTITION OF trips DEFAULT;
CREATE TABLE fuel (vehicle int NOT NULL REFERENCES vehicles, at date NOT NULL, litres numeric(6, 2) NOT NULL, price numeric(6, 3) NOT NULL) PARTITION BY LIST (vehicle);
CREATE TABLE fuel_1 PARTITION OF fuel FOR VALUES IN (1);
CREATE TABLE fuel_rest PARTITION OF fuel DEFAULT;
CREATE VIEW finished AS SELECT * FROM trips WHERE ended IS NOT NULL;
CREATE VIEW totals AS SELECT vehicle, count(*) AS trips, sum(km) AS km FROM finished GROUP BY vehicle;
COMMENT ON TABLE trips IS 'Every trip; those without end are under way'; COMMENT ON VIEW totals IS 'Finished trips by vehicle';
INSERT INTO vehicles VALUES (1, 'K-AB 1', 'van', '2019-05-01'), (2, 'K-AB 2', 'truck', '2021-06-01'), (3, 'K-AB 3', 'van', NULL);
INSERT INTO drivers VALUES (1, 'Mia', NULL), (2, 'Ben', 1), (3, 'Noa', 2), (4, 'Kim', 1);
INSERT INTO trips VALUES
    (1, 1, 1, '2025-01-03 08:00Z', '2025-01-03 10:00Z', 120.5, '{city}', '{"toll": 4.5}'), (2, 1, 2, '2025-01-20 09:00Z', '2025-01-20 09:30Z', 20, '{city,night}', NULL),
    (3, 2, 2, '2025-02-01 07:00Z', '2025-02-01 19:00Z', 640, '{}', '{"toll": 30}'), (4, 2, 3, '2025-02-10 07:00Z', NULL, NULL, '{night}', '{}'),
    (5, 3, NULL, '2025-04-01 12:00Z', '2025-04-01 12:45Z', 33.3, '{city}', '{"toll": 0, "note": "test"}');
INSERT INTO fuel VALUES (1, '2025-01-04', 40, 1.7), (1, '2025-02-04', 35.5, 1.65), (2, '2025-02-02', 300, 1.55);
CREATE MATERIALIZED VIEW monthly AS SELECT date_trunc('month', began AT TIME ZONE 'UTC')::date AS month, sum(km) AS km FROM trips GROUP BY 1;
