/**
 * The nouns: what travels from the broker to a row, as plain data. No behaviour, no imports.
 *
 * An `Arrival` comes off the wire, a `Delivery` is one message on its way to one route, a `Batch` is what one
 * lane takes from the spool at a time, a `Row` is what the database gets, a `DeadLetter` is what it did not get.
 */

export type QoS = 0 | 1 | 2;

/** An MQTT application message. `payload` is never altered and must not be written to. */
export interface Message {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  /** It had been kept by the broker and came with the subscription: it may be old. */
  readonly retain: boolean;
  /** When the gateway read it from the socket: milliseconds since 1970 UTC, wall clock. */
  readonly receivedAtMs: number;
}

/** A PUBLISH packet (MQTT 5 section 3.3). */
export interface Publish extends Message {
  readonly kind: "publish";
  /** 1..65535, or 0 for QoS 0. */
  readonly packetId: number;
  /** The DUP flag. Alone it proves nothing: mosquitto sets it on a first attempt too. */
  readonly duplicate: boolean;
  /** Number of the connection it came over; an acknowledgement never goes to another one. */
  readonly connection: number;
}

/** A PUBREL packet: the broker has seen our PUBREC and will not send that message again (MQTT 5 section 4.3.3). */
export interface Release {
  readonly kind: "release";
  readonly packetId: number;
  readonly connection: number;
}

/** The broker began a new session (CONNACK with session present = 0): the packet ids of the old one mean nothing any more. */
export interface SessionLost {
  readonly kind: "sessionLost";
  readonly connection: number;
}

/** What the source hands over, in the order of the wire. */
export type Arrival = Publish | Release | SessionLost;

/** Where a topic goes: one address for each route that matches it. */
export interface Address {
  /** The lane, which is the name of the target table. 1..64 characters. */
  readonly lane: string;
  /** The identity of the route; it stays the same when the route's columns are changed. */
  readonly route: string;
}

/** One message on its way to one route. */
export interface Delivery extends Message {
  /** Position in the spool: unique, rising, never given twice under one spool identity. 1..2^53-1. */
  readonly sequence: number;
  readonly route: string;
}

/** What one lane takes from the spool at a time, in order of `sequence`. */
export interface Batch {
  readonly lane: string;
  /** Identity of the log, as this lane knows it: the key of the ledger row that it is written under. */
  readonly spool: string;
  /** The highest sequence of this lane that was settled before this batch; 0 at the very beginning. */
  readonly after: number;
  /** Highest sequence in the batch. */
  readonly last: number;
  readonly deliveries: readonly Delivery[];
  /** Sequences in this batch that are in the dead letters already (parked before a crash): they must not be written. */
  readonly parked: ReadonlySet<number>;
}

/** A value that a database driver binds. Numbers are finite. Times are strings `YYYY-MM-DD HH:MM:SS.ffffff` in UTC. */
export type SqlValue = null | boolean | number | bigint | string | Uint8Array;

export type OnDuplicateKey = "error" | "ignore" | "update";

/** A column that a route writes. */
export interface RowColumn {
  readonly name: string;
  /** SQL type as the configuration gives it, e.g. `varchar(40)`; undefined: the table decides, or, where the table is made, the first value. */
  readonly type: string | undefined;
  /** What it is to the gateway, for sensible types and keys of a table that it makes itself. */
  readonly role:
    | "received"
    | "topic"
    | "payload"
    | "qos"
    | "retain"
    | "gateway"
    | "sequence"
    | "level"
    | "time"
    | "value";
  /** Unit of the value, for the comment of a column that is made. */
  readonly unit?: string;
}

/** A column of a table as all routes to it together want it. */
export interface DesignColumn extends RowColumn {
  /** Not every route to the table writes it: it must be able to be NULL. */
  readonly sometimes?: boolean;
}

/** A table as all routes to it together want it made and looked after. */
export interface TableDesign {
  readonly columns: readonly DesignColumn[];
  /** Columns of the primary key; empty: an `id` of its own. */
  readonly key: readonly string[];
  /** Columns that tell its series apart: device and name, room. */
  readonly series: readonly string[];
  /** The column of the time, in UTC, that a row's age and its hour go by; undefined where there is none. */
  readonly time: string | undefined;
  /** Rows that are older are removed; undefined: none. */
  readonly retentionMs: number | undefined;
  /** Whether `<table>_hourly` is kept. */
  readonly hourly: boolean;
  /** One of many that a name with placeholders stands for: each should take little room. */
  readonly isOneOfMany: boolean;
}

/** What all rows of one route to one table have in common; rows share the object, so that they can be grouped by identity. */
export interface Shape {
  readonly table: string;
  readonly columns: readonly RowColumn[];
  readonly onDuplicateKey: OnDuplicateKey;
  /** Columns of the key of a table that the gateway makes; empty: an `id` of its own. */
  readonly key: readonly string[];
  /** What the table is beyond this route; undefined: no more than `columns` and `key` say. */
  readonly design?: TableDesign;
}

/** One row for one table. `values` lie in the order of `shape.columns`. One delivery may make several rows, which stand or fall together. */
export interface Row {
  readonly sequence: number;
  readonly shape: Shape;
  readonly values: readonly SqlValue[];
}

/** A delivery that will not be stored, and why. */
export interface DeadLetter extends Message {
  readonly lane: string;
  readonly sequence: number;
  readonly route: string;
  readonly reason: string;
  /** The database's error number where the database refused it. */
  readonly errno: number | null;
}
