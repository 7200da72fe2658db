/**
 * Texts that are compared with a file beside the test: what a user reads. UPDATE=1 writes them anew; read the difference.
 */
import assert from "node:assert/strict";

export async function assertGolden(directory: string, name: string, actual: string): Promise<void> {
  const file = new URL(`${name}.txt`, directory);
  if (Deno.env.get("UPDATE")) {
    await Deno.mkdir(new URL(".", file), { recursive: true });
    await Deno.writeTextFile(file, actual);
  }
  const expected = await Deno.readTextFile(file).catch(() => "");
  assert.equal(actual, expected, `${name} differs; UPDATE=1 writes it anew`);
}
