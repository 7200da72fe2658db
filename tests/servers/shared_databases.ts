/**
 * One server of each installed flavour for all tests of a file, for tests that leave the server as they found it and
 * keep to databases of their own. Started before the first test, gone after the last.
 */
import type { Database, DatabaseOptions, Flavour } from "./database.ts";
import { databases, START } from "./needs.ts";

/** Call it once, at the top of a file; the servers are there while tests run. */
export function sharedDatabases(options: DatabaseOptions = {}): Readonly<Record<Flavour, Database>> {
  const shared = {} as Record<Flavour, Database>;
  Deno.test.beforeAll(async () => {
    await Promise.all(
      databases().map(async (flavour) => {
        shared[flavour] = await START[flavour](options);
      }),
    );
  });
  Deno.test.afterAll(async () => {
    await Promise.all(Object.values(shared).map((database) => database[Symbol.asyncDispose]()));
  });
  return shared;
}
