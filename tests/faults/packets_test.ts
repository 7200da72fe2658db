/**
 * Rows that are large for the server's `max_allowed_packet`. Row 40 of the fault catalogue.
 */
import assert from "node:assert/strict";
import type { Flavour } from "../servers/database.ts";
import { eachDatabase, testWith } from "../servers/needs.ts";
import { sharedDatabases } from "../servers/shared_databases.ts";
import { Stage } from "./stage.ts";

const PACKET = 1024 * 1024;
const shared = sharedDatabases({ args: [`--max-allowed-packet=${PACKET}`] });

/** Sizes around everything that could be a limit: a share of the packet, the packet itself, ours and the server's overhead. */
const SIZES = [
  ...Array<number>(20).fill(100_000),
  ...[0.5, 0.74, 0.76, 0.9].map((share) => Math.floor(share * PACKET)),
  ...[300, 200, 150, 120, 90, 80, 64, 40, 20, 10, 1].map((less) => PACKET - less),
];
const TOO_BIG = [PACKET, PACKET + 1, Math.floor(1.5 * PACKET), 3 * PACKET];

async function bigRows(flavour: Flavour): Promise<void> {
  const server = shared[flavour];
  await using stage = await Stage.start({
    flavour,
    server,
    tables: { a: "text longtext", b: "text longtext" },
    columns: { text: "$.text" },
  });
  const connections = async () =>
    Number((await server.admin("SHOW GLOBAL STATUS LIKE 'Connections'"))[0].Value);
  await stage.send(10);
  await stage.sluice.until("the connections to be there", (it) => it.totals.stored === 20);
  const before = await connections();
  const id = (size: number, i: number) => `${size < PACKET ? "fits" : "not"}-${i}-${size}`;
  for (const [i, size] of [...SIZES, ...TOO_BIG].entries()) {
    const meant = { id: id(size, i), text: "ü".repeat(size / 2) + "x".repeat(size % 2) };
    await stage.publish("a", [{ ...meant, fate: fits(size) ? "row" : "refused" }]);
    await stage.send(2);
  }
  const { verdict } = await stage.settle();
  const tooBig = [...SIZES, ...TOO_BIG].filter((size) => !fits(size)).length;
  assert.equal(verdict.dead, tooBig);
  const lengths = await stage.admin("SELECT id, length(text) AS n FROM t.a WHERE id LIKE 'fits%'");
  for (const { id, n } of lengths) assert.equal(Number(id.split("-")[2]), Number(n), id);
  assert.deepEqual(stage.letters().map((it) => it.errno), Array(tooBig).fill(1153));
  // A packet that is too big would end the connection.
  const after = await connections();
  assert.ok(after - before < 60, `${after - before} connections were made`);
}

/** The gateway leaves some bytes for what is around the values. */
const fits = (size: number) => size <= PACKET - 110;

eachDatabase((flavour) => {
  testWith(
    ["mosquitto", flavour],
    `40: what ${flavour} takes in one packet of 1 MiB is stored in several statements, and what not is refused alone`,
    () => bigRows(flavour),
  );
});
