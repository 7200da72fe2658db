/** The note about the broker's session beside the spool. */
import assert from "node:assert/strict";
import { SessionFile } from "../../src/gateway/session_file.ts";

async function withFile(fn: (path: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await fn(`${dir}/spool.db.session`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("what one process notes the next one reads, each part kept while the other changes", async () => {
  await withFile(async (path) => {
    const file = new SessionFile(path, "gateway");
    assert.deepEqual(await file.read(), { filters: [] });
    file.write({ filters: ["Home/#", 'a "b"/+'] });
    file.write({ dropped: 7 });
    assert.deepEqual(await new SessionFile(path, "gateway").read(), {
      filters: ["Home/#", 'a "b"/+'],
      dropped: 7,
    });
    const next = new SessionFile(path, "gateway");
    await next.read();
    next.write({ filters: [] });
    assert.deepEqual(await new SessionFile(path, "gateway").read(), { filters: [], dropped: 7 });
  });
});

Deno.test("a note for another client id is another session's", async () => {
  await withFile(async (path) => {
    new SessionFile(path, "gateway").write({ filters: ["a"], dropped: 7 });
    assert.deepEqual(await new SessionFile(path, "other").read(), { filters: [] });
  });
});

Deno.test("a note that cannot be read counts as none, and one that cannot be written is no ground to fail", async () => {
  await withFile(async (path) => {
    for (const text of ["", "{", "Home/#\n", "[]", '{"clientId":"gateway","filters":"x"}']) {
      await Deno.writeTextFile(path, text);
      assert.deepEqual(await new SessionFile(path, "gateway").read(), { filters: [] });
    }
    new SessionFile(`${path}/no/such/folder`, "gateway").write({ filters: ["a"] });
  });
});

Deno.test("a note is replaced as a whole: who reads it meanwhile finds the old one", async () => {
  await withFile(async (path) => {
    const file = new SessionFile(path, "gateway");
    file.write({ filters: ["a"] });
    using old = await Deno.open(path);
    file.write({ filters: ["b"] });
    const text = await new Response(old.readable).text();
    assert.deepEqual(JSON.parse(text).filters, ["a"]);
  });
});
