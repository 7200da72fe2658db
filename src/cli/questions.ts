/**
 * Questions on the terminal, and what is said between them. Who gives up at a question (Ctrl-C, Esc) ends the program
 * with an error; nothing here knows what the answers are for.
 */
import { SluiceError } from "../errors.ts";

export interface Questions {
  /** `check` returns what is wrong with an answer. */
  text(question: string, initial: string, check: (answer: string) => string | undefined): Promise<string>;
  /** May be left empty. */
  password(question: string): Promise<string>;
  choose<T extends string>(question: string, choices: Readonly<Record<T, string>>): Promise<T>;
  good(sentence: string): void;
  bad(sentence: string, hint: string | undefined): void;
}

export async function openQuestions(title: string): Promise<Questions> {
  const clack = await import("@clack/prompts");
  clack.intro(title);
  const answered = (answer: string | symbol | undefined): string => {
    if (typeof answer !== "symbol") return answer ?? "";
    throw new SluiceError("given up; nothing was written");
  };
  return {
    text: async (message, initialValue, check) =>
      answered(
        await clack.text({
          message,
          initialValue,
          validate: (answer) => answer?.trim() ? check(answer.trim()) : "this needs an answer",
        }),
      ).trim(),
    password: async (message) => answered(await clack.password({ message })),
    choose: async <T extends string>(message: string, choices: Readonly<Record<T, string>>) => {
      const options = Object.entries<string>(choices).map(([value, label]) => ({ value, label }));
      return answered(await clack.select<string>({ message, options })) as T;
    },
    good: (sentence) => clack.log.success(sentence),
    bad: (sentence, hint) => clack.log.error(hint ? `${sentence}\n${hint}` : sentence),
  };
}
