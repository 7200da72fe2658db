/**
 * Values of different kinds in one column, one after the other and side by side: each is stored as it is, whatever was
 * bound before it.
 */
import assert from "node:assert/strict";
import type { SqlValue } from "../../src/message.ts";
import { eachDatabase, testWith } from "../servers/needs.ts";
import { sharedDatabases } from "../servers/shared_databases.ts";
import { WrittenTable } from "./written_table.ts";

const shared = sharedDatabases();
const bytes = (text: string) => new TextEncoder().encode(text);

/** Values, and what a text column holds of each. */
const VALUES: readonly (readonly [SqlValue, string | null])[] = [
  [1.5, "1.5"],
  ["007", "007"],
  [null, null],
  ["9007199254740993", "9007199254740993"],
  [9007199254740993n, "9007199254740993"],
  [true, "1"],
  ["1e3", "1e3"],
  [bytes("0049"), "0049"],
  ["0049", "0049"],
  [-7, "-7"],
  [-8.583048978880731e-141, "-8.583048978880731e-141"],
  [1.2345678901234567e+250, "1.2345678901234567e+250"],
  [" 12", " 12"],
  ["12.50", "12.50"],
  [bytes("é"), "é"],
  ["é", "é"],
];

eachDatabase((flavour) => {
  for (const together of [true, false]) {
    testWith(
      [flavour],
      `${flavour} keeps numbers, texts and bytes in one column as they are, ${
        together ? "in one batch" : "one after the other"
      }`,
      async () => {
        await using table = await WrittenTable.make(shared[flavour], {
          columns: "id int PRIMARY KEY, v varchar(40)",
        });
        const all = [...VALUES, ...VALUES.toReversed(), ...VALUES];
        for (const [id, [value]] of all.entries()) {
          table.add([id, value]);
          if (!together) await table.write();
        }
        if (together) await table.write();
        const rows = await table.admin("SELECT v FROM here.t ORDER BY id");
        assert.deepEqual(rows.map(({ v }) => v), all.map(([, text]) => text));
      },
    );
  }

  testWith([flavour], `${flavour} keeps every digit of a large number beside small ones`, async () => {
    await using table = await WrittenTable.make(shared[flavour], {
      columns: "id int PRIMARY KEY, v decimal(50,20)",
    });
    const all = ["1.5", 2.25, 9007199254740993n, "12345678901234567890.12345678901234567891", 3, -1n];
    // Between them a text that only a double can be: rounded to nothing, or refused.
    for (const [id, value] of [...all, "5e-324", ...all].entries()) table.add([id, value]);
    await table.write();
    const digits = all.map((it) => `${it}${/\./.test(String(it)) ? "" : "."}`)
      .map((it) => it + "0".repeat(20 - it.split(".")[1].length));
    assert.deepEqual((await table.stored("v")).filter((it) => Number(it) !== 0), [...digits, ...digits]);
  });

  testWith([flavour], `${flavour} takes a number into a column of bits as one`, async () => {
    await using table = await WrittenTable.make(shared[flavour], {
      columns: "id int PRIMARY KEY, v bit(8)",
    });
    for (const [id, value] of [1, true, 200, null, false].entries()) table.add([id, value]);
    await table.write();
    assert.deepEqual(await table.stored("v + 0"), ["1", "1", "200", "null", "0"]);
  });
});
