/**
 * What a user meets before anything else: the overview, the help of each command, and completion in real shells.
 */
import assert from "node:assert/strict";
import { COMMANDS } from "../../src/cli/mod.ts";
import { findProgram } from "../servers/find_program.ts";
import { waitFor } from "../servers/wait_for.ts";
import { sluice } from "./program.ts";
import { assertShown } from "./shown.ts";

Deno.test("the overview and the help of every command can be read", async () => {
  const texts = [`$ sluice --help\n${(await sluice(["--help"])).out}`];
  for (const { name } of COMMANDS) {
    texts.push(`$ sluice ${name} --help\n${(await sluice([name, "--help"])).out}`);
  }
  await assertShown("help", texts.join("\n"), "/nowhere");
  for (const line of texts.join("\n").split("\n")) {
    assert.ok(line.length <= 120, `too long for a terminal: ${line}`);
  }
  const alone = await sluice([]);
  assert.equal(alone.code, 2);
  assert.equal(`$ sluice --help\n${alone.err}`, texts[0]);
});

/** Runs a shell's own words with the completion script loaded. */
async function inShell(shell: string, words: string): Promise<string> {
  const { out: script } = await sluice(["completion", shell]);
  const file = await Deno.makeTempFile({ suffix: `.${shell}` });
  try {
    await Deno.writeTextFile(file, script);
    const args = shell === "bash" ? ["--norc"] : shell === "zsh" ? ["-f"] : ["--no-config"];
    const { stdout, stderr } = await new Deno.Command(shell, {
      args: [...args, "-c", words.replaceAll("SCRIPT", file)],
      env: { HOME: "/nonexistent", TERM: "dumb" },
      stdout: "piped",
      stderr: "piped",
    }).output();
    assert.equal(new TextDecoder().decode(stderr), "");
    return new TextDecoder().decode(stdout);
  } finally {
    await Deno.remove(file);
  }
}

const testIn = (shell: string, fn: () => Promise<void>) =>
  Deno.test({
    name: `${shell} completes commands, options, actions and files`,
    ignore: !findProgram(shell),
    fn,
  });

testIn("bash", async () => {
  const dir = await Deno.makeTempDir();
  await Deno.writeTextFile(`${dir}/my home.json`, "");
  const complete = async (...line: string[]) => {
    const quoted = line.map((it) => `'${it}'`).join(" ");
    const out = await inShell(
      "bash",
      `source SCRIPT; COMP_WORDS=(${quoted}); COMP_CWORD=${
        line.length - 1
      }; compopt() { :; }; _sluice; printf '%s\\n' "\${COMPREPLY[@]}"`,
    );
    return out.split("\n").filter(Boolean);
  };
  assert.deepEqual(await complete("sluice", "che"), ["check"]);
  assert.deepEqual((await complete("sluice", "")).slice(0, 3), ["demo", "init", "discover"]);
  assert.deepEqual(await complete("sluice", "check", "--o"), ["--offline"]);
  assert.deepEqual(await complete("sluice", "dead", "re"), ["replay"]);
  assert.deepEqual(await complete("sluice", "check", "-c", `${dir}/my`), [`${dir}/my home.json`]);
  await Deno.remove(dir, { recursive: true });
});

testIn("fish", async () => {
  const complete = async (line: string) => {
    const out = await inShell("fish", `source SCRIPT; complete -C '${line}'`);
    return out.split("\n").filter(Boolean).map((it) => it.split("\t")[0]);
  };
  assert.deepEqual(await complete("sluice che"), ["check"]);
  assert.deepEqual(await complete("sluice check --o"), ["--offline"]);
  assert.deepEqual(await complete("sluice dead re"), ["replay"]);
  assert.deepEqual(await complete("sluice check -c /etc/host.co"), ["/etc/host.conf"]);
});

testIn("zsh", async () => {
  const { out: script } = await sluice(["completion", "zsh"]);
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/_sluice`, script);
    // Saved in $fpath and sourced: both are usual.
    for (
      const load of [
        `fpath=(${dir} $fpath); autoload -U compinit; compinit -u -D`,
        `autoload -U compinit; compinit -u -D; source ${dir}/_sluice`,
      ]
    ) {
      await using zsh = new Zsh();
      await zsh.type(`PS1='> '; ${load}; bindkey '^I' expand-or-complete; echo READ''Y\n`, /READY/);
      await zsh.type("sluice che\t", /sluice check /);
      await zsh.type("--o\t", /--offline /);
      await zsh.type("\x15sluice dead re\t", /sluice dead replay /);
      await zsh.type("\x15sluice check -c /etc/host.co\t", /-c \/etc\/host\.conf /);
      assert.doesNotMatch(zsh.out, /command not found|parse error|_arguments:/);
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

/** zsh as it is typed into. */
class Zsh implements AsyncDisposable {
  readonly #child = new Deno.Command("script", {
    args: ["-qefc", "stty cols 200; exec zsh -f -i", "/dev/null"],
    env: { TERM: "dumb", HOME: "/nonexistent" },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  readonly #input = this.#child.stdin.getWriter();
  readonly #reading = this.#child.stdout.pipeThrough(new TextDecoderStream())
    .pipeTo(new WritableStream({ write: (text) => void (this.out += text) }));
  out = "";

  /** Types, and waits for what then appears. */
  async type(text: string, expected: RegExp): Promise<void> {
    const seen = this.out.length;
    await this.#input.write(new TextEncoder().encode(text));
    // Without colours and cursor movements, which come even to a dumb terminal.
    // deno-lint-ignore no-control-regex -- they are what it is about
    const plain = () => this.out.slice(seen).replace(/\x1b\[[\d;?]*[a-zA-Z]|[\b\r\x07]/g, "");
    await waitFor(() => expected.test(plain()), { what: `${expected} in ${JSON.stringify(text)}` })
      .catch((error) => {
        throw new Error(`${error.message}\n${JSON.stringify(this.out.slice(seen))}`);
      });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#input.close().catch(() => {});
    await this.#child.status;
    await this.#reading.catch(() => {});
  }
}
