/**
 * Starting a thread of the program: from its module's file, or, in a bundle, from the module's text that the bundle
 * carries (`config/bundle.ts`), so that a thread loads what it runs and not the whole program once more.
 */
declare global {
  var SLUICE_THREADS: Readonly<Record<string, string>> | undefined;
}

/** `name` is the thread's own name, by which its module knows that it is to serve; `module` its file. */
export function startThread(name: string, module: string): Worker {
  const text = globalThis.SLUICE_THREADS?.[name];
  if (text === undefined) return new Worker(module, { type: "module", name });
  const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  const worker = new Worker(url, { type: "module", name });
  URL.revokeObjectURL(url);
  return worker;
}
