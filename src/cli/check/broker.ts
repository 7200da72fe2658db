/**
 * The broker as it really is: whether it lets us in, what it grants, and what of it can lose messages.
 *
 * The gateway's own session is left alone: to ask for it by its name would take it away from a gateway that runs.
 */
import { probeOf } from "../../gateway/parts.ts";
import type { ProbeResult } from "../../mqtt/probe.ts";
import { innerFilter } from "../../route/pattern.ts";
import { formatDuration } from "../../units.ts";
import type { FileReport } from "./report.ts";

/** False where the broker is out of reach. */
export async function checkBroker(report: FileReport, signal: AbortSignal): Promise<boolean> {
  const result = await probeOf(report.loaded.config, signal);
  const { error } = result;
  if (error) {
    report.at(["broker", "url"], {
      severity: "error",
      code: "broker",
      message: error.message,
      fix: error.hint,
    });
    return false;
  }
  subscriptions(report, result);
  session(report, result);
  losses(report, result);
  if (result.ok) report.good(welcome(report, result));
  return true;
}

function welcome(
  { loaded: { config } }: FileReport,
  { brokerVersion, sessionExpirySec }: ProbeResult,
): string {
  const kept = config.broker.version === 4
    ? "as long as the broker likes (MQTT 3.1.1)"
    : formatDuration(sessionExpirySec === undefined ? config.broker.sessionExpiry : sessionExpirySec * 1_000);
  return `the broker lets us in and grants every subscription${
    brokerVersion ? ` (${brokerVersion})` : ""
  }; while the gateway is away it keeps messages for ${kept}`;
}

/** At the first route that wants the filter. */
function atFilter(report: FileReport, filter: string, found: Parameters<FileReport["at"]>[1]): void {
  const { config, madeFrom } = report.loaded;
  const wanted = config.routes.findIndex(({ topic }) => topic !== undefined && covers(filter, topic));
  report.at(wanted < 0 ? ["routes"] : ["routes", madeFrom[wanted], "topic"], found);
}

/** Whether all topics of the pattern are among those of the filter. */
function covers(filter: string, pattern: string): boolean {
  const [wide, narrow] = [filter.split("/"), innerFilter(pattern).split("/")];
  for (const [i, level] of wide.entries()) {
    if (level === "#") return true;
    if (i >= narrow.length || level !== "+" && level !== narrow[i]) return false;
  }
  return wide.length === narrow.length;
}

function subscriptions(report: FileReport, { refused, lowered, limits }: ProbeResult): void {
  for (const { filter, reason } of refused) {
    const wildcard = /[+#]/.test(filter) && limits?.wildcardSubscriptionAvailable === false;
    atFilter(report, filter, {
      severity: "error",
      code: "subscription-refused",
      message: wildcard
        ? `the broker refuses the subscription ${filter}: it takes no + and #`
        : `the broker refuses the subscription ${filter}: ${reason}`,
      fix: wildcard
        ? "write a route for each topic, or use another broker"
        : `give this user the right to read it; in mosquitto's acl_file: topic read ${filter}`,
    });
  }
  for (const { filter, granted } of lowered) {
    atFilter(report, filter, {
      severity: granted === 0 ? "warning" : "note",
      code: "subscription-lowered",
      message: granted === 0
        ? `the broker grants ${filter} with QoS 0 only: what comes while the gateway is away, or while a line breaks, is lost`
        : `the broker grants ${filter} with QoS ${granted}: what was sent with QoS 2 may come twice after a broken line`,
      fix: "allow a higher QoS; in mosquitto.conf: max_qos 2",
    });
  }
}

function session(report: FileReport, { limits, sessionExpirySec }: ProbeResult): void {
  const { broker, routes } = report.loaded.config;
  const askedSec = Math.floor(broker.sessionExpiry / 1_000);
  if (sessionExpirySec !== undefined && sessionExpirySec < askedSec) {
    report.at(["broker", "sessionExpiry"], {
      severity: "warning",
      code: "session-expiry",
      message: sessionExpirySec === 0
        ? "the broker keeps no session: what comes while the gateway is away is lost"
        : `the broker keeps messages for an absent gateway for ${
          formatDuration(sessionExpirySec * 1_000)
        } only, not for ${formatDuration(broker.sessionExpiry)}`,
      fix: sessionExpirySec === 0
        ? "allow sessions in the broker's configuration"
        : `allow more in the broker's configuration, or know it: "sessionExpiry": "${sessionExpirySec}s"`,
    });
  }
  const shared = routes.find(({ topic }) => topic?.startsWith("$share/"));
  if (limits?.sharedSubscriptionAvailable === false && shared) {
    atFilter(report, innerFilter(shared.topic!), {
      severity: "error",
      code: "no-shared",
      message: "the broker has no shared subscriptions",
      fix: `"topic": ${JSON.stringify(innerFilter(shared.topic!))}, in one gateway only`,
    });
  }
  if (limits?.retainAvailable === false && routes.some(({ retained }) => retained !== "skip")) {
    report.at(["broker", "url"], {
      severity: "note",
      code: "no-retained",
      message: "the broker keeps no retained messages: a state is known only after it has changed once",
    });
  }
}

/** What of the broker can lose messages without a word, as far as it can be seen from here. */
function losses(report: FileReport, { brokerDropped, brokerVersion }: ProbeResult): void {
  if (brokerDropped) {
    report.at(["broker", "url"], {
      severity: "warning",
      code: "broker-dropped",
      message:
        `the broker has dropped ${brokerDropped} messages since it was started, for this client or another`,
      fix: "in mosquitto.conf: max_queued_messages 1000000",
    });
  }
  if (!/mosquitto/i.test(brokerVersion ?? "")) return;
  report.at(["broker", "url"], {
    severity: "note",
    code: "mosquitto",
    message:
      "unless its configuration says otherwise, which cannot be seen from here, mosquitto keeps 1000 messages " +
      "for a gateway that is away, and none over a restart of its own; and what its acl_file does not let this user " +
      "read it leaves out without a word",
    fix: "in mosquitto.conf:\nmax_queued_messages 1000000\npersistence true\nautosave_interval 60",
  });
}
