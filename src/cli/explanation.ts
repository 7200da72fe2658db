/**
 * What the routes make of one message, in words and as data: the same for `explain`, which is given it, and for `tap`,
 * which hears it.
 */
import type { Router } from "../contracts.ts";
import type { Delivery, Message, Row, SqlValue } from "../message.ts";
import { quote } from "../mysql/ddl.ts";

/** The shape of `explain --json` and `tap --json`: one object for each route that matches, or one without a route. */
export interface Explanation {
  readonly topic: string;
  readonly route: string | null;
  readonly rows: readonly { readonly table: string; readonly columns: Readonly<Record<string, unknown>> }[];
  readonly sql: string | null;
  readonly values: readonly unknown[];
  /** Why nothing is stored; null where something is. */
  readonly reason: string | null;
}

export function explainMessage(router: Router, message: Message): Explanation[] {
  const addresses = router.address(message.topic);
  if (addresses.length === 0) {
    const reason = `no route matches this topic; the routes subscribe to ${
      router.filters.join(", ") || "nothing"
    }`;
    return [{ topic: message.topic, route: null, rows: [], sql: null, values: [], reason }];
  }
  return addresses.map(({ lane, route }) => {
    const delivery: Delivery = { ...message, sequence: 1, route };
    const { rows, dead, filtered } = router.decode(lane, [delivery]);
    const reason = dead[0]?.reason ??
      (filtered > 0 ? "the route's filters leave it out" : rows.length === 0 ? "it makes no row" : null);
    return {
      topic: message.topic,
      route,
      rows: rows.map((row) => ({ table: row.shape.table, columns: columnsOf(row) })),
      sql: rows.length > 0 ? insertSql(rows[0]) : null,
      values: rows.flatMap((row) => row.values.map(plain)),
      reason,
    };
  });
}

/** For people. */
export function formatExplanation({ topic, route, rows, sql, values, reason }: Explanation): string {
  const lines = [`topic  ${topic}`];
  if (route !== null) lines.push(`route  ${route}`);
  for (const { table, columns } of rows) {
    lines.push(`row    ${table}`);
    const width = Math.max(...Object.keys(columns).map((name) => name.length));
    for (const [name, value] of Object.entries(columns)) {
      lines.push(`         ${name.padEnd(width)}  ${JSON.stringify(value)}`);
    }
  }
  if (sql !== null) lines.push(`sql    ${sql}`, `values ${JSON.stringify(values)}`);
  if (reason !== null) lines.push(`${route === null ? "nothing is stored" : "not stored"}: ${reason}`);
  return lines.join("\n");
}

function columnsOf({ shape, values }: Row): Record<string, unknown> {
  return Object.fromEntries(shape.columns.map(({ name }, i) => [name, plain(values[i])]));
}

function insertSql({ shape }: Row): string {
  const names = shape.columns.map(({ name }) => quote(name));
  return `INSERT INTO ${quote(shape.table)} (${names.join(", ")}) VALUES (${
    names.map(() => "?").join(", ")
  })`;
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A value as JSON can carry it: text where the bytes are text, base64 where they are not. */
function plain(value: SqlValue): unknown {
  if (typeof value === "bigint") return value.toString();
  if (!(value instanceof Uint8Array)) return value;
  try {
    return decoder.decode(value);
  } catch {
    return { base64: value.toBase64() };
  }
}
