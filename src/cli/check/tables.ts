/**
 * Each table against its routes, and what the user may do with it.
 */
import type { Shape } from "../../message.ts";
import { compareTable, type Mends, type TableFinding } from "../../mysql/compare.ts";
import type { MysqlConnection } from "../../mysql/connect.ts";
import { inspectTable, type TableFacts, tablesBeginning } from "../../mysql/inspect.ts";
import {
  type Account,
  accountOf,
  ledgerFindings,
  missingPrivileges,
  upkeepPrivileges,
} from "../../mysql/privileges.ts";
import { upkeepFindings } from "../../mysql/upkeep_check.ts";
import { shapesOf } from "../../route/mod.ts";
import { count } from "../found.ts";
import type { FileReport } from "./report.ts";

export async function checkTables(report: FileReport, connection: MysqlConnection): Promise<void> {
  const { config, madeFrom } = report.loaded;
  const account = await accountOf(connection);
  const tables = new Tables(connection, config.database, account);
  for (const { severity, code, message, sql } of await tables.ledger()) {
    report.at(["database", "url"], { severity, code, message, fix: sql });
  }
  const said = new Set<string>();
  const isNew = (it: unknown) => said.size < said.add(JSON.stringify(it)).size;
  for (const [i, shape] of shapesOf(config.routes).entries()) {
    // The routes of a preset mostly have one table.
    if (!isNew([madeFrom[i], shape])) continue;
    for (const { severity, code, message, column, sql } of await tables.compare(shape)) {
      // What a table lacks is said once, whoever needs it.
      if (isNew([message, sql])) report.atRoute(i, { severity, code, message, fix: sql }, column);
    }
  }
  if (tables.seen > 0) report.good(`looked at ${count(tables.seen, "table")}`);
}

class Tables {
  readonly #connection: MysqlConnection;
  readonly #mends: Mends;
  readonly #account: Account;
  readonly #known = new Map<string, TableFacts | null>();

  constructor(connection: MysqlConnection, mends: Mends, account: Account) {
    this.#connection = connection;
    this.#mends = mends;
    this.#account = account;
  }

  /** Tables that there are. */
  get seen(): number {
    return [...this.#known.values()].filter((it) => it !== null).length;
  }

  async ledger(): Promise<TableFinding[]> {
    const facts = await inspectTable(this.#connection, "sluice_ledger");
    return await ledgerFindings(this.#connection, facts, this.#account);
  }

  async compare(shape: Shape): Promise<TableFinding[]> {
    if (!shape.table.includes("{")) return await this.#one(shape);
    const findings: TableFinding[] = [];
    for (const table of await this.#like(shape.table)) findings.push(...await this.#one({ ...shape, table }));
    return [...findings, ...await this.#future(shape)];
  }

  async #one(shape: Shape): Promise<TableFinding[]> {
    const facts = await this.#facts(shape.table);
    const denied = [
      ...await missingPrivileges(this.#connection, shape, facts, this.#mends, this.#account),
      ...await upkeepPrivileges(this.#connection, shape, this.#mends, this.#account),
    ];
    // Columns that this user may not touch are not shown to it: they only look as if they were missing.
    const hidden = facts !== null && denied.some(({ code }) => code === "no-grant");
    const differences = [
      ...compareTable(shape, facts, this.#mends),
      ...await upkeepFindings(this.#connection, shape, this.#mends),
    ];
    // A right on a table can be given only when there is one.
    if (facts === null) return [...differences, ...denied];
    return [...denied, ...differences.filter(({ code }) => !hidden || code !== "column-missing")];
  }

  async #facts(table: string): Promise<TableFacts | null> {
    let facts = this.#known.get(table);
    if (facts === undefined) this.#known.set(table, facts = await inspectTable(this.#connection, table));
    return facts;
  }

  /** The tables that there are already of a name with placeholders. */
  async #like(template: string): Promise<string[]> {
    const literal = template.split(/\{[^}]*\}/).map((it) => it.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    const pattern = new RegExp(`^${literal.join("[\\w$-]*")}$`);
    const alike = await tablesBeginning(this.#connection, template.slice(0, template.indexOf("{")));
    return alike.filter((name) => pattern.test(name));
  }

  /** Tables of such a name will be made, which takes a right on the whole database. */
  async #future(shape: Shape): Promise<TableFinding[]> {
    if (!this.#mends.createTables) return [];
    const table = shape.table.replace(/\{[^}]*\}/g, "sluice_check").slice(0, 64);
    const one = { ...shape, table };
    const all = await missingPrivileges(this.#connection, one, null, this.#mends, this.#account, shape.table);
    return all.filter(({ code }) => code === "no-grant");
  }
}
