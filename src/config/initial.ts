/**
 * The text of a first configuration: commented, complete enough to run, short enough to read.
 *
 * Pure; whoever asks the questions is elsewhere. No secret is written into it but by the user's own choice.
 */
import type { SecretSource } from "./secret.ts";

export interface InitialAnswers {
  readonly name: string;
  readonly brokerUrl: string;
  readonly brokerUsername?: string;
  /** How the configuration shall name the password; undefined: there is none. */
  readonly brokerPassword?: SecretSource;
  /** 4 where the broker speaks nothing newer than MQTT 3.1.1. @default 5 */
  readonly brokerVersion?: 4 | 5;
  readonly databaseUrl: string;
  readonly databasePassword?: SecretSource;
  /** Where everything under this topic filter shall go. @default "Home/#" */
  readonly topic?: string;
  /** @default "messages" */
  readonly table?: string;
  /** The file in which messages wait. @default "spool.db" */
  readonly spool?: string;
  /** Value of "$schema"; undefined: left out. */
  readonly schema?: string;
}

export function initialConfiguration(answers: InitialAnswers): string {
  const text = (value: string) => JSON.stringify(value);
  const secret = (value: SecretSource) => {
    if (typeof value === "string") return text(value);
    const [[key, name]] = Object.entries(value);
    return `{ ${text(key)}: ${text(name)} }`;
  };
  const broker = [
    ...(answers.brokerVersion === 4 ? [`    "version": 4, // this broker speaks MQTT 3.1.1`] : []),
    ...(answers.brokerUsername ? [`    "username": ${text(answers.brokerUsername)},`] : []),
    ...(answers.brokerPassword ? [`    "password": ${secret(answers.brokerPassword)},`] : []),
    `    "url": ${text(answers.brokerUrl)} // mqtt, mqtts, ws or wss`,
  ];
  const database = [
    `    "url": ${text(answers.databaseUrl)},`,
    ...(answers.databasePassword ? [`    "password": ${secret(answers.databasePassword)},`] : []),
    `    "createTables": true // make tables that are missing`,
  ];
  return [
    "// Sluice: MQTT to MySQL. `sluice check -c THIS_FILE` says what is wrong with it, and how to mend it.",
    "{",
    ...(answers.schema ? [`  "$schema": ${text(answers.schema)},`] : []),
    `  "name": ${text(answers.name)}, // this gateway, in logs and on the status page`,
    `  "broker": {`,
    ...broker,
    "  },",
    `  "database": {`,
    ...database,
    "  },",
    "  // Messages wait here until the database has them, also when the power fails.",
    `  "spool": { "path": ${text(answers.spool ?? "spool.db")}, "maxSize": "1GiB" },`,
    `  "routes": [`,
    "    // Everything, as it came. `sluice discover -c THIS_FILE` listens and proposes better ones.",
    "    {",
    `      "topic": ${text(answers.topic ?? "Home/#")},`,
    `      "table": ${text(answers.table ?? "messages")},`,
    `      "decode": "bytes",`,
    `      "columns": {`,
    `        "received_at": "@received",`,
    `        "topic": "@topic",`,
    `        "payload": "@payload",`,
    `        "qos": "@qos",`,
    `        "retained": "@retain"`,
    `      }`,
    "    }",
    "  ],",
    `  "status": { "listen": "127.0.0.1:8088" } // the status page: http://127.0.0.1:8088/`,
    "}",
    "",
  ].join("\n");
}
