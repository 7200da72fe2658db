/**
 * The database's disk is full: a small tmpfs under its data, filled by somebody else. Row 39 of the fault catalogue.
 * It takes root and mount; elsewhere it counts as skipped.
 */
import assert from "node:assert/strict";
import type { Flavour } from "../servers/database.ts";
import { eachDatabase, START, testWith } from "../servers/needs.ts";
import { SmallDisk } from "../servers/small_disk.ts";
import { Stage } from "./stage.ts";

/** A fresh data directory, and some room. */
const DISK_MB = { mariadb: 220, mysql: 260 };
const FILLER_BYTES = 8_000;

async function full(flavour: Flavour): Promise<void> {
  await using disk = await SmallDisk.open({ megabytes: DISK_MB[flavour] });
  await using server = await START[flavour]({ dir: disk.dir });
  const columns = "note varchar(4), filler varchar(10000)";
  await using stage = await Stage.start({
    flavour,
    server,
    tables: { a: columns, b: columns },
    columns: { note: "$.note", filler: "$.filler" },
  });
  await stage.send(50);
  await stage.sluice.until("them to be stored", (it) => it.totals.stored === 100);
  await disk.fill();
  // Tables grow by a megabyte or more at a time: it takes some messages until one needs space.
  const filler = "x".repeat(FILLER_BYTES);
  for (let round = 0; (await stage.sluice.status()).lanes.a.state !== "stalled"; round++) {
    assert.ok(round < 200, "so much room there was not");
    for (const table of stage.tables) {
      await stage.publish(table, stage.good(table, 20).map((it) => ({ ...it, filler })));
    }
    await disk.fill();
  }
  await stage.publish("a", [{ id: "long", note: "too long", fate: "refused" }]);
  const { lanes, totals } = await stage.sluice.status();
  assert.equal(totals.dead, 0);
  assert.match(lanes.a.reason ?? "", /full|no space|got error|\(error 1\d{3}\)/i);
  await disk.free();
  const { verdict } = await stage.settle();
  assert.equal(verdict.dead, 1);
}

eachDatabase((flavour) => {
  testWith(
    ["mosquitto", "smallDisk", flavour],
    `39: a full disk under ${flavour} is waited out, and nothing becomes a dead letter for it`,
    () => full(flavour),
  );
});
