/**
 * Every way in which a row can be bad for its own sake, for each flavour: a table that takes one value and refuses
 * another. What the server says of it is not written down here: it is asked.
 */
import type { Flavour } from "../servers/database.ts";

export interface PoisonKind {
  /** Of the table, besides `id`; `v` is what is written. */
  readonly columns: string;
  readonly good: (i: number) => unknown;
  readonly bad: unknown;
  /** After the table is made; `t.` is the database, `t.it` the table. */
  readonly sql?: readonly string[];
}

const always = (value: unknown) => () => value;

const BOTH: Readonly<Record<string, PoisonKind>> = {
  too_long: { columns: "v varchar(4)", good: always("four"), bad: "five5" },
  too_long_blob: { columns: "v tinyblob", good: always("short"), bad: "x".repeat(256) },
  too_many_bits: { columns: "v bit(1)", good: always(1), bad: 5 },
  out_of_range: { columns: "v tinyint", good: (i) => i, bad: 128 },
  below_zero: { columns: "v int unsigned", good: (i) => i, bad: -1 },
  too_many_digits: { columns: "v decimal(4,2)", good: always(12.5), bad: 100 },
  float_range: { columns: "v float", good: always(1.5), bad: 1e39 },
  no_year: { columns: "v year", good: always(2024), bad: 1800 },
  no_date: { columns: "v date", good: always("2024-02-29"), bad: "2023-02-29" },
  no_datetime: { columns: "v datetime", good: always("2024-02-29 12:00:00"), bad: "noon" },
  no_timestamp: {
    columns: "v timestamp NULL",
    good: always("2024-02-29 12:00:00"),
    bad: "1969-02-01 00:00:00",
  },
  no_time: { columns: "v time", good: always("12:00:00"), bad: "12:61:00" },
  no_integer: { columns: "v int", good: always("12"), bad: "twelve" },
  integer_and_more: { columns: "v int", good: always("12"), bad: "12 apples" },
  no_double: { columns: "v double", good: always("1.5"), bad: "one" },
  not_in_enum: { columns: "v enum('on','off')", good: always("on"), bad: "open" },
  not_in_set: { columns: "v set('on','off')", good: always("on,off"), bad: "open" },
  four_bytes: { columns: "v varchar(40) CHARACTER SET utf8mb3", good: always("grün"), bad: "😀" },
  other_script: { columns: "v varchar(40) CHARACTER SET latin1", good: always("grün"), bad: "緑" },
  null: { columns: "v int NOT NULL", good: always(1), bad: null },
  double_key: {
    columns: "v int UNIQUE",
    good: (i) => i,
    bad: -1,
    sql: ["INSERT INTO t.it (id, v) VALUES ('before', -1)"],
  },
  check_fails: { columns: "v int CHECK (v < 100)", good: always(1), bad: 100 },
  no_json: { columns: "v json", good: always('{"a":1}'), bad: '{"a":' },
  deep_json: { columns: "v json", good: always("[]"), bad: "[".repeat(200) + "]".repeat(200) },
  no_parent: {
    columns: "v int, FOREIGN KEY (v) REFERENCES parent (id)",
    good: always(1),
    bad: 2,
  },
  no_partition: {
    columns: "v int",
    good: always(1),
    bad: 10,
    sql: [
      "ALTER TABLE t.it DROP PRIMARY KEY, MODIFY no bigint AUTO_INCREMENT, ADD KEY (no)",
      "ALTER TABLE t.it PARTITION BY RANGE (v) (PARTITION small VALUES LESS THAN (10))",
    ],
  },
  signal: {
    columns: "v int",
    good: always(1),
    bad: 10,
    sql: [
      `CREATE TRIGGER t.signal_it BEFORE INSERT ON t.it FOR EACH ROW BEGIN IF NEW.v > 9 THEN
         SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'more than nine'; END IF; END`,
    ],
  },
  signal_with_number: {
    columns: "v int",
    good: always(1),
    bad: 10,
    sql: [
      `CREATE TRIGGER t.number_it BEFORE INSERT ON t.it FOR EACH ROW BEGIN IF NEW.v > 9 THEN
         SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 5999, MESSAGE_TEXT = 'more than nine'; END IF; END`,
    ],
  },
  refused_by_log: {
    columns: "v int",
    good: always(1),
    bad: 1000,
    sql: [
      "CREATE TABLE t.log (v tinyint)",
      "CREATE TRIGGER t.log_it AFTER INSERT ON t.it FOR EACH ROW INSERT INTO log VALUES (NEW.v)",
    ],
  },
  view_check: {
    columns: "v int",
    good: always(1),
    bad: 10,
    sql: [
      "RENAME TABLE t.it TO t.behind_view",
      "CREATE VIEW t.it AS SELECT * FROM t.behind_view WHERE v < 10 WITH CHECK OPTION",
    ],
  },
  division_by_zero: { columns: "v int, part double AS (1 / v) STORED", good: always(1), bad: 0 },
  generated_range: { columns: "v int, twice tinyint AS (v * 2) STORED", good: always(1), bad: 100 },
  generated_overflow: {
    columns: "v bigint, more bigint AS (v + 1) STORED",
    good: always(1),
    bad: "9223372036854775807",
  },
  no_geometry: { columns: "v point", good: always(null), bad: "here" },
};

const OF_FLAVOUR: Readonly<Record<Flavour, Readonly<Record<string, PoisonKind>>>> = {
  mariadb: {
    no_uuid: { columns: "v uuid", good: always("123e4567-e89b-12d3-a456-426614174000"), bad: "me" },
    no_address: { columns: "v inet6", good: always("::1"), bad: "here" },
  },
  mysql: {
    index_on_expression: {
      columns: "v varchar(40), INDEX ((CAST(v AS UNSIGNED)))",
      good: always("12"),
      bad: "twelve",
    },
    index_on_array: {
      columns: "v json, INDEX ((CAST(v->'$.codes' AS UNSIGNED ARRAY)))",
      good: always('{"codes":[1,2]}'),
      bad: '{"codes":["one"]}',
    },
  },
};

export const kindsOf = (flavour: Flavour): Readonly<Record<string, PoisonKind>> => ({
  ...BOTH,
  ...OF_FLAVOUR[flavour],
});
