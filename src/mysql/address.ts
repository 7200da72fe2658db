/**
 * Where a database is, read from its URL.
 */
import { ConfigurationError } from "../errors.ts";

export type DatabaseAddress =
  | { readonly kind: "sqlite"; readonly path: string }
  | {
    readonly kind: "mysql";
    readonly host: string;
    readonly port: number;
    readonly user: string;
    /** From the URL, where it has one. */
    readonly password: string | undefined;
    readonly database: string;
  };

/** Reads `mysql://user@host:3306/database` or `sqlite:file.db`. Throws `ConfigurationError` where it is neither. */
export function databaseAddress(text: string): DatabaseAddress {
  if (text.startsWith("sqlite:") && text.length > "sqlite:".length) {
    return { kind: "sqlite", path: text.slice("sqlite:".length) };
  }
  const url = URL.parse(text);
  if (!url || !["mysql:", "mariadb:"].includes(url.protocol) || !url.hostname) {
    throw new ConfigurationError(
      "database.url is neither mysql://user@host:3306/database nor sqlite:file.db",
      {
        hint: "write it like mysql://sluice@127.0.0.1:3306/home",
      },
    );
  }
  const database = decodeURIComponent(url.pathname.slice(1));
  if (database === "" || database.includes("/")) {
    throw new ConfigurationError("database.url names no database", {
      hint: "write it behind the host: mysql://sluice@127.0.0.1:3306/home",
    });
  }
  return {
    kind: "mysql",
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: Number(url.port || 3306),
    user: decodeURIComponent(url.username || "sluice"),
    password: url.password ? decodeURIComponent(url.password) : undefined,
    database,
  };
}

/** Reads `host:port`, or `host` for port 3306; an IPv6 address stands in brackets. Throws `ConfigurationError`. */
export function serverAddress(text: string): { readonly host: string; readonly port: number } {
  const [, host, port = "3306"] = /^(\[[\da-f:.]+\]|[^\s:/@[\]]+)(?::(\d{1,5}))?$/i.exec(text) ?? [];
  if (host === undefined || Number(port) === 0 || Number(port) > 65_535) {
    throw new ConfigurationError("is not host:port; write it like 10.0.0.2:3306");
  }
  return { host: host.replace(/^\[|\]$/g, ""), port: Number(port) };
}
