/**
 * What the schema knows and the program does not do yet. It is refused, never ignored.
 */
interface NotYet {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

const has = (value: unknown, key: string): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && Object.hasOwn(value, key);

export function notYet(config: unknown): NotYet[] {
  const found: NotYet[] = [];
  if (has(config, "routes") && Array.isArray(config.routes)) {
    config.routes.forEach((route, i) => {
      for (const key of ["hourly", "retention"]) {
        if (has(route, key)) {
          found.push({ path: ["routes", i, key], message: `"${key}" is not supported yet` });
        }
      }
    });
  }
  return found;
}
