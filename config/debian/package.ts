/**
 * Makes the Debian packages: `deno task deb` writes dist/sluice_VERSION_ARCH.deb for arm64 and amd64.
 *
 * A package holds the bundle and the runtime that runs it (from npm's registry, the version that runs this), the systemd
 * unit, completions, examples. The runtime gets the flags of `deno task compile`, so that both shapes may do the same.
 * The same sources make the same bytes: SOURCE_DATE_EPOCH, or else the time of the last commit, is the time of all files.
 */
const ROOT = new URL("../../", import.meta.url).pathname;
const HERE = new URL("./", import.meta.url).pathname;

/** Debian's name of a processor, and npm's package with the runtime for it. */
const RUNTIMES: Readonly<Record<string, string>> = {
  arm64: "@deno/linux-arm64-glibc",
  amd64: "@deno/linux-x64-glibc",
};
const OWN = Deno.build.arch === "aarch64" ? "arm64" : "amd64";

interface Settings {
  readonly version: string;
  readonly tasks: Readonly<Record<string, { readonly command: string }>>;
}

const settings: Settings = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`));

/** What the program may do, and how much memory it takes: the flags that `deno task compile` bakes in. */
export function runtimeFlags(): string[] {
  return settings.tasks["compile:for"].command.split(" ").filter((it) =>
    /^--(allow|deny|unstable|no-prompt|no-config|no-check|v8-flags)/.test(it)
  );
}

const LAUNCHER = `#!/bin/sh
exec /usr/lib/sluice/deno run --quiet --no-lock --no-npm --cached-only ${runtimeFlags().join(" ")} ` +
  `/usr/lib/sluice/sluice.js "$@"
`;

async function run(
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args: [...args], env, stdin: "null" })
    .output();
  const text = new TextDecoder();
  if (!success) throw new Error(`${command} ${args.join(" ")} failed:\n${text.decode(stderr)}`);
  return text.decode(stdout);
}

/** The runtime's file; of this machine's own kind it is the one that runs this. */
async function runtimeFor(arch: string, scratch: string): Promise<string> {
  if (arch === OWN) return Deno.execPath();
  const name = `${RUNTIMES[arch]}@${Deno.version.deno}`;
  const [{ filename }] = JSON.parse(
    await run("npm", ["pack", "--json", "--pack-destination", scratch, name]),
  );
  await run("tar", ["-xzf", `${scratch}/${filename}`, "-C", scratch, "package/deno"]);
  return `${scratch}/package/deno`;
}

/** What lies where: a path in the package, its content or the file that it is, its mode. */
async function contents(
  bundle: string,
): Promise<[path: string, content: string | { file: string }, mode: number][]> {
  const completion = (shell: string) =>
    run(Deno.execPath(), ["run", "--quiet", ...runtimeFlags(), bundle, "completion", shell]);
  const examples = [...Deno.readDirSync(`${ROOT}config`)].map((it) => it.name).filter((it) =>
    it.endsWith(".jsonc")
  );
  return [
    ["usr/bin/sluice", LAUNCHER, 0o755],
    ["usr/lib/sluice/sluice.js", { file: bundle }, 0o644],
    ["usr/lib/systemd/system/sluice.service", { file: `${ROOT}config/sluice.service` }, 0o644],
    ["usr/lib/sysusers.d/sluice.conf", { file: `${HERE}sysusers.conf` }, 0o644],
    ["usr/share/sluice/sluice.schema.json", { file: `${ROOT}config/sluice.schema.json` }, 0o644],
    ...examples.map((it): [string, { file: string }, number] => [
      `usr/share/doc/sluice/examples/${it}`,
      { file: `${ROOT}config/${it}` },
      0o644,
    ]),
    ["usr/share/doc/sluice/README.md", { file: `${ROOT}README.md` }, 0o644],
    ["usr/share/doc/sluice/copyright", { file: `${ROOT}LICENSE` }, 0o644],
    ["usr/share/bash-completion/completions/sluice", await completion("bash"), 0o644],
    ["usr/share/zsh/vendor-completions/_sluice", await completion("zsh"), 0o644],
    ["usr/share/fish/vendor_completions.d/sluice.fish", await completion("fish"), 0o644],
  ];
}

/** Writes the package and returns its path. `compression`: of dpkg-deb, `xz` or, where time matters more, `gzip`. */
export async function makePackage(
  arch: string,
  bundle: string,
  out: string,
  compression = "xz",
): Promise<string> {
  if (!(arch in RUNTIMES)) {
    throw new Error(`there is no package for ${arch}; there are ${Object.keys(RUNTIMES)}`);
  }
  const scratch = await Deno.makeTempDir({ prefix: "sluice-deb-" });
  try {
    const tree = `${scratch}/tree`;
    const put = async (path: string, content: string | { file: string }, mode: number) => {
      const target = `${tree}/${path}`;
      await Deno.mkdir(target.slice(0, target.lastIndexOf("/")), { recursive: true, mode: 0o755 });
      if (typeof content === "string") await Deno.writeTextFile(target, content);
      else await Deno.copyFile(content.file, target);
      await Deno.chmod(target, mode);
    };
    for (const [path, content, mode] of await contents(bundle)) await put(path, content, mode);
    await put("usr/lib/sluice/deno", { file: await runtimeFor(arch, scratch) }, 0o755);
    const [kilobytes] = (await run("du", ["-sk", "--apparent-size", tree])).split("\t");
    const control = (await Deno.readTextFile(`${HERE}control`)).replace("${VERSION}", settings.version)
      .replace("${ARCH}", arch).replace("${SIZE}", kilobytes);
    await put("DEBIAN/control", control, 0o644);
    for (const script of ["postinst", "prerm", "postrm"]) {
      await put(`DEBIAN/${script}`, { file: `${HERE}${script}` }, 0o755);
    }
    const path = `${out}/sluice_${settings.version}_${arch}.deb`;
    await Deno.mkdir(out, { recursive: true });
    const fast = compression === "gzip" ? ["-z1"] : [];
    await run("dpkg-deb", ["--root-owner-group", `-Z${compression}`, ...fast, "-b", tree, path], {
      SOURCE_DATE_EPOCH: await epoch(),
    });
    return path;
  } finally {
    await Deno.remove(scratch, { recursive: true });
  }
}

async function epoch(): Promise<string> {
  return Deno.env.get("SOURCE_DATE_EPOCH") ??
    (await run("git", ["-C", ROOT, "log", "-1", "--format=%ct"]).catch(() => "0")).trim();
}

if (import.meta.main) {
  for (const arch of Deno.args.length > 0 ? Deno.args : Object.keys(RUNTIMES)) {
    console.log(await makePackage(arch, `${ROOT}dist/sluice.js`, `${ROOT}dist`));
  }
}
