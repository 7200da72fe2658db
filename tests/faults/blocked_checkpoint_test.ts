/**
 * A program that reads the spool all the time, so that SQLite cannot write its log back: row 55 of the fault catalogue.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { testWith } from "../servers/needs.ts";
import { waitFor } from "../servers/wait_for.ts";
import { Scene } from "./scene.ts";

const LOG_LARGE_BYTES = 32 * 1024 * 1024;

testWith(
  ["mosquitto"],
  "55: a reader that blocks the checkpoint: the log grows, which is told; nothing waits for it; then it shrinks",
  async () => {
    await using scene = await Scene.start({ log: false });
    await scene.publish(100);
    await scene.sluice.until("them to be stored", (it) => it.totals.stored === 100);
    const logBytes = () => Deno.statSync(`${scene.spoolPath}-wal`).size;
    {
      using reader = new DatabaseSync(scene.spoolPath, { readOnly: true });
      reader.exec("BEGIN");
      reader.prepare("SELECT * FROM meta").all();
      while (logBytes() < LOG_LARGE_BYTES) await scene.publish(500, { payloadBytes: 6_000 });
      await waitFor(
        () =>
          /the log beside the spool has grown to .*another program reads .* end it/.test(
            scene.sluice.output,
          ),
        { what: "the log's size to be told" },
      );
      const { totals } = await scene.sluice.status();
      await scene.publish(200);
      await scene.sluice.until("more to be stored", (it) => it.totals.stored >= totals.stored + 200);
    }
    await waitFor(async () => {
      await scene.publish(20, { payloadBytes: 6_000 });
      return logBytes() < LOG_LARGE_BYTES / 2;
    }, { what: "the log to shrink" });
    await waitFor(() => /over after .* the log beside the spool/.test(scene.sluice.output), {
      what: "the end to be told",
    });
    await scene.settle();
    assert.equal(scene.proxy.accepted, 1);
  },
);
