-- Very many columns, most of which no question is about.
CREATE SCHEMA lab;
SET search_path = lab;
CREATE TABLE sites (site text PRIMARY KEY, country text NOT NULL, opened date NOT NULL);
INSERT INTO sites VALUES ('A', 'DE', '2001-01-01'), ('B', 'FR', '2010-01-01'), ('C', 'DE', '2020-01-01'), ('D', 'PL', '2024-01-01');
DO $$
BEGIN
    EXECUTE 'CREATE TABLE samples (id int PRIMARY KEY, site text NOT NULL REFERENCES sites, taken timestamp NOT NULL, passed boolean, '
         || (SELECT string_agg(format('m%s double precision', to_char(i, 'FM000')), ', ' ORDER BY i) FROM generate_series(1, 400) AS i) || ')';
    EXECUTE 'INSERT INTO samples SELECT i, (ARRAY[''A'', ''B'', ''C''])[1 + i % 3], timestamp ''2025-01-01'' + i * interval ''6 hours'', CASE WHEN i % 7 = 0 THEN NULL ELSE i % 2 = 0 END, '
         || (SELECT string_agg(CASE WHEN i % 50 = 0 THEN 'NULL' ELSE format('(i * %s) %% 101', i) END, ', ' ORDER BY i) FROM generate_series(1, 400) AS i) || ' FROM generate_series(1, 60) AS i';
END $$;
COMMENT ON TABLE samples IS 'One row a sample, a column a measurement';
COMMENT ON COLUMN samples.m001 IS 'Temperature in degrees Celsius'; COMMENT ON COLUMN samples.m002 IS 'Pressure in kPa';
COMMENT ON COLUMN samples.m399 IS 'Humidity in percent'; COMMENT ON COLUMN samples.m050 IS 'Not measured yet';
