/**
 * Faults of the gateway's own process: killed between the packets of an exchange, stopped, frozen, started twice.
 *
 * The numbers are those of the fault catalogue. Kills at random moments (1) are in `e2e/outage_test.ts` and in the torture.
 */
import assert from "node:assert/strict";
import { testWith } from "../servers/needs.ts";
import type { QoS } from "../servers/publisher.ts";
import { waitFor } from "../servers/wait_for.ts";
import { Scene } from "./scene.ts";
import { all, type Answer, holdsA, packets } from "./wire.ts";

/** Within the window of MQTT 3.1.1, so that all of them are under way at once. */
const COUNT = 15;

interface Moment {
  readonly row: number;
  /** The first packet that does not arrive. */
  readonly packet: Answer;
  readonly qos: QoS;
  /** Whether the broker must send the messages again, or only their PUBREL. */
  readonly again: "publish" | "pubrel";
}

const MOMENTS: readonly Moment[] = [
  { row: 2, packet: "puback", qos: 1, again: "publish" },
  { row: 2, packet: "pubrec", qos: 2, again: "publish" },
  { row: 3, packet: "pubrel", qos: 2, again: "pubrel" },
  { row: 4, packet: "pubcomp", qos: 2, again: "pubrel" },
];

for (const version of [5, 4] as const) {
  for (const moment of MOMENTS) {
    const { row, packet, qos } = moment;
    testWith(
      ["mosquitto"],
      `${row}: killed before ${packet.toUpperCase()} arrives, QoS ${qos}, MQTT ${version}: stored once`,
      () => killedBefore(moment, version),
    );
  }
}

async function killedBefore({ packet, qos, again }: Moment, version: 4 | 5): Promise<void> {
  await using scene = await Scene.start({ version });
  const { proxy, sluice } = scene;
  const seen = () => packets(proxy, version);
  const before = packet === "pubrel" ? "pubrec" : packet;
  proxy.onData = (_direction, chunk, connection) =>
    connection === 1 && holdsA(packet, chunk) ? "hold" : "pass";
  await scene.publish(COUNT, { qos });
  await waitFor(
    () => all(seen(), packet).length > 0 && (packet === "pubcomp" || all(seen(), before).length === COUNT),
    {
      what: `${packet} to be held`,
    },
  );
  await scene.kill();
  proxy.cut();
  await sluice.start();
  const answer = packet === "puback" ? "puback" : "pubcomp";
  await waitFor(() => all(seen(), answer, 2).length > 0, { what: `${answer} on the second connection` });
  if (again === "publish") {
    await sluice.until("all of them to come again", ({ totals }) => totals.duplicate === COUNT);
    assert.ok(all(seen(), "publish", 2).every(({ dup, topic }) => dup || topic.startsWith("$SYS/")));
  } else assert.ok(all(seen(), "pubrel", 2).length > 0, "the broker had nothing to finish");
  await scene.settle();
}
