/**
 * Installs the servers that the tests need, where that is allowed, and says what is missing where it is not.
 *
 * Allowed means: root or a sudo that asks no password, on a system with apt-get, and not forbidden by
 * SLUICE_TEST_INSTALL=0. It never starts a system service: a policy-rc.d that refuses is in place while apt works.
 * A server that cannot be installed is no error: its tests count as skipped.
 */
import { ARM64_ROOT } from "./arm64.ts";
import { findProgram } from "./find_program.ts";
import { hasMachineRoot, MACHINE_PACKAGES, MACHINE_SUITE, machineRoot } from "./machine.ts";
import { findMysql, mysqlRoot } from "./mysql.ts";

/** Programs that tests run, or files that these need, and the Debian package of each. */
const PACKAGES: Readonly<Record<string, string>> = {
  "mosquitto": "mosquitto",
  "mosquitto_pub": "mosquitto-clients",
  "mosquitto_passwd": "mosquitto",
  "mariadbd": "mariadb-server",
  "mariadb-install-db": "mariadb-server",
  "openssl": "openssl",
  "sqlite3": "sqlite3",
  "strace": "strace",
  "faketime": "faketime",
  "setpriv": "util-linux",
  "zsh": "zsh",
  "fish": "fish",
  "gcc": "gcc",
  "mkfs.ext4": "e2fsprogs",
  "/usr/include/stdio.h": "libc6-dev",
  "debootstrap": "debootstrap",
  "systemd-nspawn": "systemd-container",
  "pgrep": "procps",
  "ip": "iproute2",
  "promtool": "prometheus",
  "qemu-aarch64-static": "qemu-user-static",
  [`${ARM64_ROOT}/lib/libc.so.6`]: "libc6-arm64-cross",
  [`${ARM64_ROOT}/lib/libgcc_s.so.1`]: "libgcc-s1-arm64-cross",
};

const DEBIAN = "http://deb.debian.org/debian";
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
const APT_TIMEOUT = "600";

const APT_SCRIPT = `
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap 'rm -f $policy' EXIT
  printf '#!/bin/sh\\nexit 101\\n' > $policy && chmod 755 $policy || exit 1
fi
export DEBIAN_FRONTEND=noninteractive
timeout ${APT_TIMEOUT} apt-get update -q
timeout ${APT_TIMEOUT} apt-get install -yq --no-install-recommends "$@"
`;

const DEBOOTSTRAP_SCRIPT = `
mkdir -p "$(dirname "$1")" || exit 1
fresh=$(mktemp -d "$1-unfinished-XXXXXX") || exit 1
trap 'rm -rf --one-file-system "$fresh"' EXIT
timeout ${APT_TIMEOUT} debootstrap --variant=minbase --keyring=${KEYRING} --include="$3" "$2" "$fresh" ${DEBIAN} || exit 1
chmod 755 "$fresh" && rm -rf --one-file-system "$1" && mv "$fresh" "$1"
`;

/** Folders with a Debian in them: what for, where, of which release, with which packages, and whether it is there. */
const ROOTS = [
  {
    what: "MySQL",
    root: mysqlRoot,
    suite: "sid",
    packages: ["mysql-server-core", "mysql-client-core"],
    there: () => findMysql() !== undefined,
  },
  {
    what: "a machine with systemd",
    root: machineRoot,
    suite: MACHINE_SUITE,
    packages: MACHINE_PACKAGES,
    there: hasMachineRoot,
  },
] as const;

/** Installs what is missing, telling `say` about it. Returns a sentence for each thing that is still missing. */
export async function installServers(say: (line: string) => void): Promise<string[]> {
  const asRoot = await rootPrefix();
  if (asRoot) await installPackages(asRoot, say);
  if (asRoot && findProgram("debootstrap")) {
    for (const { what, root, suite, packages, there } of ROOTS) {
      if (there()) continue;
      say(`installing ${what} from Debian ${suite} into ${root()}`);
      await tell([...asRoot, "sh", "-c", DEBOOTSTRAP_SCRIPT, "root", root(), suite, packages.join(",")], say);
    }
  }
  return stillMissing();
}

async function installPackages(asRoot: readonly string[], say: (line: string) => void): Promise<void> {
  const wanted = missingPackages();
  if (!ROOTS.every(({ there }) => there()) && !isFile(KEYRING)) wanted.push("debian-archive-keyring");
  if (wanted.length === 0) return;
  say(`installing ${wanted.join(" ")}`);
  await tell([...asRoot, "sh", "-c", APT_SCRIPT, "apt", ...wanted], say);
}

function missingPackages(): string[] {
  const missing = Object.entries(PACKAGES).filter(([it]) =>
    it.startsWith("/") ? !isFile(it) : !findProgram(it)
  );
  return [...new Set(missing.map(([, name]) => name))];
}

function stillMissing(): string[] {
  const packages = missingPackages();
  const sentences = packages.length === 0 ? [] : [
    `tests that need ${packages.join(", ")} are skipped; as root: apt-get install ${packages.join(" ")}`,
  ];
  for (const { what, root, suite, packages, there } of ROOTS) {
    if (there()) continue;
    sentences.push(
      `tests that need ${what} are skipped; as root: apt-get install debootstrap && debootstrap --variant=minbase ` +
        `--include=${packages.join(",")} ${suite} ${root()} ${DEBIAN}`,
    );
  }
  return sentences;
}

/** What to put before a command so that root runs it; undefined where nothing may be installed. */
async function rootPrefix(): Promise<readonly string[] | undefined> {
  if (Deno.env.get("SLUICE_TEST_INSTALL") === "0" || !findProgram("apt-get")) return undefined;
  if (Deno.uid() === 0) return [];
  if (!findProgram("sudo")) return undefined;
  const { success } = await new Deno.Command("sudo", { args: ["-n", "true"], stdout: "null", stderr: "null" })
    .output();
  return success ? ["sudo", "-n"] : undefined;
}

/** Runs a command quietly; where it fails its last lines are told. */
async function tell(command: readonly string[], say: (line: string) => void): Promise<void> {
  const [program, ...args] = command;
  const { success, stdout, stderr } = await new Deno.Command(program!, { args, stdin: "null" }).output();
  if (success) return;
  const text = new TextDecoder();
  const lines = (text.decode(stdout) + text.decode(stderr)).trimEnd().split("\n");
  for (const line of ["that failed:", ...lines.slice(-15)]) say(line);
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
