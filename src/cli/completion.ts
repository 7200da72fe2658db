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
  notes: [
    'bash: eval "$(sluice completion bash)"',
    "zsh: source <(sluice completion zsh)",
    "fish: sluice completion fish | source",
  ],
  options: {},
  actions: Object.keys(SHELLS),
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
  case "$previous" in
    ${
    fileFlags(commands).join("|")
  }) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word"); return;;
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${commands.map((it) => it.name).join(" ")} --help --version" -- "$word")); return
  fi
  case "\${COMP_WORDS[1]}" in
${
    commands.map((it) => `    ${it.name}) COMPREPLY=($(compgen -W "${words(it).join(" ")}" -- "$word"));;`)
      .join("\n")
  }
  esac
}
complete -o default -F _sluice sluice`;
}

/** Text inside of [...] and before : in what zsh reads, in single quotes. */
const zshText = (text: string) => text.replace(/[:[\]\\]/g, "\\$&").replaceAll("'", "'\\''");

function zsh(commands: readonly Command[]): string {
  const option = ([name, { short, summary, value }]: [string, Command["options"][string]]) => {
    const text = `[${zshText(summary)}]${value ? `:${value}:${value === "FILE" ? "_files" : ""}` : ""}`;
    return short ? `'(-${short} --${name})'{-${short},--${name}}'${text}'` : `'--${name}${text}'`;
  };
  const positional = ({ actions, positionals = [0, 0] }: Command) =>
    actions ? [`'1:action:(${actions.join(" ")})'`] : positionals[1] > 0 ? [`'*:file:_files'`] : [];
  const cases = commands.map((it) =>
    `      ${it.name}) _arguments ${
      [...positional(it), ...Object.entries(it.options).map(option), `'--help[what it does]'`].join(" ")
    };;`
  );
  return `#compdef sluice
# source <(sluice completion zsh), or save it as _sluice in a folder of $fpath
_sluice() {
  if (( CURRENT == 2 )); then
    local -a commands=(${commands.map((it) => `'${it.name}:${zshText(it.summary)}'`).join(" ")})
    _describe command commands
  else
    shift words
    (( CURRENT-- ))
    case $words[1] in
${cases.join("\n")}
    esac
  fi
}
if [[ $funcstack[1] == _sluice ]]; then _sluice "$@"; else compdef _sluice sluice; fi`;
}

function fish(commands: readonly Command[]): string {
  const quoted = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const argument = ({ value }: Command["options"][string]) =>
    value === undefined ? "" : value === "FILE" ? " -r" : " -x";
  return [
    "# sluice completion fish | source",
    ...commands.flatMap((command) => [
      `complete -c sluice -n __fish_use_subcommand -f -a ${command.name} -d ${quoted(command.summary)}`,
      ...(command.actions ?? []).map((action) =>
        `complete -c sluice -n '__fish_seen_subcommand_from ${command.name}' -f -a ${action}`
      ),
      ...Object.entries(command.options).map(([name, it]) =>
        `complete -c sluice -n '__fish_seen_subcommand_from ${command.name}' -l ${name}${
          it.short ? ` -s ${it.short}` : ""
        }${argument(it)} -d ${quoted(it.summary)}`
      ),
    ]),
  ].join("\n");
}
