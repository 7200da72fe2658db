/**
 * `sluice completion SHELL`: a completion script for bash, zsh or fish.
 */
import { UsageError } from "../errors.ts";
import type { Command } from "./command.ts";

const SHELLS: Readonly<Record<string, (commands: readonly Command[]) => string>> = { bash, zsh, fish };

/** The command needs the list that it is itself in, hence a function. */
export const completion = (commands: () => readonly Command[]): Command => ({
  name: "completion",
  usage: "bash|zsh|fish",
  summary: "a completion script for your shell",
  options: {},
  positionals: [1, 1],
  run({ positionals: [shell] }, io) {
    const script = Object.hasOwn(SHELLS, shell) ? SHELLS[shell] : undefined;
    if (!script) {
      throw new UsageError(`there is no completion for "${shell}"`, {
        hint: `known shells: ${Object.keys(SHELLS).join(", ")}`,
      });
    }
    io.out(script(commands()));
    return Promise.resolve(0);
  },
});

const flags = ({ options }: Command) =>
  Object.entries(options).flatMap(([name, { short }]) => [`--${name}`, ...(short ? [`-${short}`] : [])]);

const words = (command: Command) => [...command.actions ?? [], ...flags(command), "--help"];

/** Options whose value is a file. */
const fileFlags = (commands: readonly Command[]) => {
  const named = commands.flatMap(({ options }) => Object.entries(options)).filter(([, it]) =>
    it.value === "FILE"
  );
  return [...new Set(named.flatMap(([name, { short }]) => [...(short ? [`-${short}`] : []), `--${name}`]))];
};

function bash(commands: readonly Command[]): string {
  return `# eval "$(sluice completion bash)"
_sluice() {
  local word="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}"
  case "$previous" in ${fileFlags(commands).join("|")}) COMPREPLY=($(compgen -f -- "$word")); return;; esac
  if [ "$COMP_CWORD" -eq 1 ]; then COMPREPLY=($(compgen -W "${
    commands.map((it) => it.name).join(" ")
  } --help --version" -- "$word")); return; fi
  case "\${COMP_WORDS[1]}" in
${
    commands.map((it) => `    ${it.name}) COMPREPLY=($(compgen -W "${words(it).join(" ")}" -- "$word"));;`)
      .join("\n")
  }
  esac
}
complete -o default -F _sluice sluice`;
}

function zsh(commands: readonly Command[]): string {
  const describe = (text: string) => text.replaceAll("'", "'\\''").replaceAll(":", "\\:");
  return `#compdef sluice
_sluice() {
  if (( CURRENT == 2 )); then
    local -a commands=(${commands.map((it) => `'${it.name}:${describe(it.summary)}'`).join(" ")})
    _describe command commands
  else
    case $words[2] in
${
    commands.map((it) =>
      `      ${it.name}) _values option ${words(it).map((flag) => `'${flag}'`).join(" ")};;`
    ).join("\n")
  }
    esac
    _files
  fi
}
compdef _sluice sluice`;
}

function fish(commands: readonly Command[]): string {
  const quoted = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  return commands.flatMap((command) => [
    `complete -c sluice -n __fish_use_subcommand -f -a ${command.name} -d ${quoted(command.summary)}`,
    ...(command.actions ?? []).map((action) =>
      `complete -c sluice -n '__fish_seen_subcommand_from ${command.name}' -f -a ${action}`
    ),
    ...Object.entries(command.options).map(([name, { short, summary, type }]) =>
      `complete -c sluice -n '__fish_seen_subcommand_from ${command.name}' -l ${name}${
        short ? ` -s ${short}` : ""
      }${type === "string" ? " -r" : ""} -d ${quoted(summary)}`
    ),
  ]).join("\n");
}
