import assert from "node:assert/strict";
import fc from "fast-check";
import { matchPattern, parsePattern } from "../../src/route/pattern.ts";
import { TopicTrie } from "../../src/route/topic_trie.ts";
import { filters, matchesFilter, topics } from "./topics.ts";

Deno.test("a pattern matches the topics that its filter matches in MQTT", () => {
  fc.assert(
    fc.property(filters, topics, (filter, topic) => {
      const matched = matchPattern(parsePattern(filter), topic.split("/")) !== null;
      assert.equal(matched, matchesFilter(filter, topic), `${filter} and ${topic}`);
    }),
    { numRuns: 5_000 },
  );
});

Deno.test("each placeholder stands for its level, and the topic can be written from them", () => {
  fc.assert(fc.property(topics, fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }), (topic, named) => {
    fc.pre(!topic.startsWith("$"));
    const levels = topic.split("/");
    const pattern = parsePattern(levels.map((it, i) => named[i] ? `{l${i}}` : it).join("/"));
    const values = matchPattern(pattern, levels)!;
    assert.deepEqual(values, levels.filter((_, i) => named[i]));
    assert.deepEqual(pattern.names, levels.flatMap((_, i) => named[i] ? [`l${i}`] : []));
    assert.ok(matchesFilter(pattern.filter, topic));
  }));
});

Deno.test("a rest with a name takes one level or more, # none or more", () => {
  const named = parsePattern("home/{path...}");
  assert.equal(named.filter, "home/#");
  assert.equal(matchPattern(named, ["home"]), null);
  assert.deepEqual(matchPattern(named, ["home", "a", "b"]), ["a/b"]);
  assert.ok(matchPattern(parsePattern("home/#"), ["home"]));
});

Deno.test("a shared subscription's topics are those behind its group", () => {
  const shared = parsePattern("$share/gateways/Home/{room}/#");
  assert.equal(shared.filter, "$share/gateways/Home/+/#");
  assert.equal(shared.share, "gateways");
  assert.deepEqual(matchPattern(shared, ["Home", "attic", "x"]), ["attic"]);
  assert.equal(matchPattern(shared, ["$share", "gateways", "Home", "attic"]), null);
  for (const text of ["$share", "$share/", "$share/g", "$share/+/a", "$share//a"]) {
    assert.throws(() => parsePattern(text), /names no group/, text);
  }
});

Deno.test("a pattern that cannot be is refused with what is wrong", () => {
  const refusals: [string, RegExp][] = [
    ["", /must not be empty/],
    ["a/\0", /NUL/],
    ["#/a", /must be its last level/],
    ["{rest...}/a", /must be its last level/],
    ["a/b+", /neither a text nor one placeholder/],
    ["a/x{room}", /takes a whole level/],
    ["a/{room", /takes a whole level/],
    ["{a}/{a}", /\{a\} occurs twice/],
  ];
  for (const [text, message] of refusals) assert.throws(() => parsePattern(text), message);
});

Deno.test("the tree of patterns finds what each pattern alone matches, in their order", () => {
  const named = filters.map((it) => it.replace(/#$/, "{rest...}"));
  fc.assert(
    fc.property(fc.array(fc.oneof(filters, named), { maxLength: 12 }), topics, (texts, topic) => {
      const patterns = texts.map(parsePattern);
      const trie = new TopicTrie<number>();
      patterns.forEach((it, i) => trie.add(it.levels, i));
      const alone = patterns.flatMap((it, i) => matchPattern(it, topic.split("/")) ? [i] : []);
      assert.deepEqual(trie.match(topic), alone);
    }),
    { numRuns: 5_000 },
  );
});
