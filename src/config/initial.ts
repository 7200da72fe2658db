/**
 * The text of a first configuration: commented, complete enough to run, short enough to read.
 *
 * Pure; whoever asks the questions is elsewhere. No secret is written into it but by the user's own choice.
 */
export interface InitialAnswers {
  readonly name: string;
  readonly brokerUrl: string;
  readonly brokerUsername?: string;
  /** How the configuration shall name the password; undefined: there is none. */
  readonly brokerPassword?: SecretReference;
  readonly databaseUrl: string;
  readonly databasePassword?: SecretReference;
  /** Where everything under this topic filter shall go. @default "Home/#" */
  readonly topic?: string;
  /** @default "messages" */
  readonly table?: string;
  /** Value of "$schema"; undefined: left out. */
  readonly schema?: string;
}

export type SecretReference = string | { readonly env: string } | { readonly file: string } | {
  readonly credential: string;
};

export function initialConfiguration(answers: InitialAnswers): string {
  const text = (value: unknown) =>
    JSON.stringify(value).replace(/^\{/, "{ ").replace(/\}$/, " }").replace(/":/, '": ');
  const broker = [
    `    "url": ${text(answers.brokerUrl)},          // mqtt, mqtts, ws or wss`,
    ...(answers.brokerUsername ? [`    "username": ${text(answers.brokerUsername)},`] : []),
    ...(answers.brokerPassword ? [`    "password": ${text(answers.brokerPassword)},`] : []),
  ];
  const database = [
    `    "url": ${text(answers.databaseUrl)},`,
    ...(answers.databasePassword ? [`    "password": ${text(answers.databasePassword)},`] : []),
    `    "createTables": true              // make tables that are missing`,
  ];
  return [
    "// Sluice: MQTT to MySQL. `sluice check -c THIS_FILE` says what is wrong with it, and how to mend it.",
    "{",
    ...(answers.schema ? [`  "$schema": ${text(answers.schema)},`] : []),
    `  "name": ${text(answers.name)},`,
    `  "broker": {`,
    ...broker,
    "  },",
    `  "database": {`,
    ...database,
    "  },",
    "  // Messages wait here until the database has them, also when the power fails.",
    `  "spool": { "path": "spool.db", "maxSize": "1GiB" },`,
    `  "routes": [`,
    "    // Everything, as it came. `sluice discover -c THIS_FILE` listens and proposes better ones.",
    "    {",
    `      "topic": ${text(answers.topic ?? "Home/#")},`,
    `      "table": ${text(answers.table ?? "messages")},`,
    `      "decode": "bytes",`,
    `      "columns": { "received_at": "@received", "topic": "@topic", "payload": "@payload", "qos": "@qos", "retained": "@retain" }`,
    "    }",
    "  ],",
    `  "status": { "listen": "127.0.0.1:8088" }   // the status page: http://127.0.0.1:8088/`,
    "}",
    "",
  ].join("\n");
}
