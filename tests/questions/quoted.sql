-- Names that need quotes: capitals, umlauts, spaces, words of SQL.
CREATE SCHEMA "Firma";
SET search_path = "Firma";
CREATE TYPE "AuftragsStatus" AS ENUM ('offen', 'bezahlt', 'storniert');
CREATE TABLE "Kunden" ("KundenNr" int PRIMARY KEY, "Name" text NOT NULL, "Stadt" text, "seit" date NOT NULL, "Kredit Limit" numeric(10, 2));
CREATE TABLE "Artikel" ("Nr" int PRIMARY KEY, "Bezeichnung" text NOT NULL, "Gruppe" text NOT NULL, "order" int);
CREATE TABLE "Aufträge" ("Nr" int PRIMARY KEY, "Kunde" int NOT NULL REFERENCES "Kunden", "Datum" date NOT NULL, "Status" "AuftragsStatus" NOT NULL);
CREATE TABLE "Positionen" ("Auftrag" int REFERENCES "Aufträge", "Pos" int, "Artikel" int NOT NULL REFERENCES "Artikel", "Menge" int NOT NULL, "Einzel Preis" numeric(8, 2) NOT NULL, PRIMARY KEY ("Auftrag", "Pos"));
CREATE TABLE "user" ("id" int PRIMARY KEY, "group" text NOT NULL, "Kunde" int REFERENCES "Kunden");
COMMENT ON TABLE "Kunden" IS 'Customers'; COMMENT ON TABLE "Aufträge" IS 'Orders'; COMMENT ON COLUMN "Artikel"."order" IS 'Place in the catalogue';
INSERT INTO "Kunden" VALUES (1, 'Ada', 'Köln', '2020-01-05', 1000), (2, 'Grace', 'Bonn', '2021-03-01', 500.50), (3, 'Alan', 'Köln', '2022-07-19', NULL), (4, 'Edsger', NULL, '2023-02-11', 0);
INSERT INTO "Artikel" VALUES (10, 'Stift', 'Büro', 2), (11, 'Heft', 'Büro', 1), (12, 'Lampe', 'Licht', 3), (13, 'Kerze', 'Licht', NULL);
INSERT INTO "Aufträge" VALUES (100, 1, '2025-01-10', 'bezahlt'), (101, 1, '2025-02-11', 'offen'), (102, 2, '2025-02-12', 'bezahlt'), (103, 3, '2025-03-01', 'storniert'), (104, 3, '2025-03-15', 'bezahlt');
INSERT INTO "Positionen" VALUES (100, 1, 10, 5, 1.20), (100, 2, 12, 1, 39.90), (101, 1, 11, 10, 0.80), (102, 1, 12, 2, 38.00), (103, 1, 10, 1, 1.20), (104, 1, 11, 4, 0.90), (104, 2, 10, 2, 1.10);
INSERT INTO "user" VALUES (1, 'admin', 1), (2, 'buyer', 1), (3, 'buyer', 2);
