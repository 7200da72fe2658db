/**
 * The Sparkplug B message on the wire: its Protocol Buffers definition, as of Eclipse Tahu's sparkplug_b.proto, and the
 * plain objects that it is read into. What the values mean is in `sparkplug_value.ts`.
 */
import protobuf from "protobufjs/light.js";
import { refuseHuge, VALUES_MAX } from "./limits.ts";
import { UnreadableError } from "./unreadable_error.ts";

/** The one field that is set of those in which a value may come. */
export interface ValueFields {
  readonly intValue?: number;
  readonly longValue?: bigint;
  readonly floatValue?: number;
  readonly doubleValue?: number;
  readonly booleanValue?: boolean;
  readonly stringValue?: string;
  readonly bytesValue?: Uint8Array;
  readonly datasetValue?: DataSet;
  readonly templateValue?: Template;
  readonly propertysetValue?: PropertySet;
  readonly propertysetsValue?: { readonly propertyset: readonly PropertySet[] };
}

export interface Metric extends ValueFields {
  readonly name?: string;
  readonly alias?: bigint;
  readonly timestamp?: bigint;
  readonly datatype?: number;
  readonly isHistorical?: boolean;
  readonly isTransient?: boolean;
  readonly isNull?: boolean;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly properties?: PropertySet;
}

export interface DataSet {
  readonly columns: readonly string[];
  readonly types: readonly number[];
  readonly rows: readonly { readonly elements: readonly ValueFields[] }[];
}

export interface Template {
  readonly version?: string;
  readonly templateRef?: string;
  readonly isDefinition?: boolean;
  readonly metrics: readonly Metric[];
  readonly parameters: readonly (ValueFields & { readonly name?: string; readonly type?: number })[];
}

export interface PropertySet {
  readonly keys: readonly string[];
  readonly values: readonly (ValueFields & { readonly type?: number; readonly isNull?: boolean })[];
}

export interface SparkplugMessage {
  readonly timestamp?: bigint;
  readonly metrics: readonly Metric[];
  readonly seq?: bigint;
  readonly uuid?: string;
  readonly body?: Uint8Array;
}

type Fields = Record<string, { type: string; id: number; rule?: "repeated" }>;

/** Fields from `name: "type id"`, with `type[]` for a repeated one. */
function fields(list: Record<string, string>): Fields {
  return Object.fromEntries(
    Object.entries(list).map(([name, text]) => {
      const [, type, repeated, id] = /^(\w+)(\[\])? (\d+)$/.exec(text)!;
      return [name, { type: type!, id: Number(id), ...(repeated ? { rule: "repeated" as const } : {}) }];
    }),
  );
}

/** The scalar fields of a value, which stand in this order everywhere. */
function scalars(firstId: number): Record<string, string> {
  const types = [
    "int uint32",
    "long uint64",
    "float float",
    "double double",
    "boolean bool",
    "string string",
  ];
  return Object.fromEntries(types.map((it, i) => {
    const [name, type] = it.split(" ");
    return [`${name}Value`, `${type} ${firstId + i}`];
  }));
}

/** Edition 2023: a field that is there is told from one that is not, and texts must be UTF-8. */
const PAYLOAD = {
  edition: "2023",
  fields: fields({
    timestamp: "uint64 1",
    metrics: "Metric[] 2",
    seq: "uint64 3",
    uuid: "string 4",
    body: "bytes 5",
  }),
  nested: {
    Metric: {
      fields: fields({
        name: "string 1",
        alias: "uint64 2",
        timestamp: "uint64 3",
        datatype: "uint32 4",
        isHistorical: "bool 5",
        isTransient: "bool 6",
        isNull: "bool 7",
        metadata: "MetaData 8",
        properties: "PropertySet 9",
        ...scalars(10),
        bytesValue: "bytes 16",
        datasetValue: "DataSet 17",
        templateValue: "Template 18",
      }),
    },
    MetaData: {
      fields: fields({
        isMultiPart: "bool 1",
        contentType: "string 2",
        size: "uint64 3",
        seq: "uint64 4",
        fileName: "string 5",
        fileType: "string 6",
        md5: "string 7",
        description: "string 8",
      }),
    },
    PropertySet: { fields: fields({ keys: "string[] 1", values: "PropertyValue[] 2" }) },
    PropertySetList: { fields: fields({ propertyset: "PropertySet[] 1" }) },
    PropertyValue: {
      fields: fields({
        type: "uint32 1",
        isNull: "bool 2",
        ...scalars(3),
        propertysetValue: "PropertySet 9",
        propertysetsValue: "PropertySetList 10",
      }),
    },
    DataSet: {
      fields: fields({
        numOfColumns: "uint64 1",
        columns: "string[] 2",
        types: "uint32[] 3",
        rows: "Row[] 4",
      }),
    },
    Row: { fields: fields({ elements: "DataSetValue[] 1" }) },
    DataSetValue: { fields: fields(scalars(1)) },
    Template: {
      fields: fields({
        version: "string 1",
        metrics: "Metric[] 2",
        parameters: "Parameter[] 3",
        templateRef: "string 4",
        isDefinition: "bool 5",
      }),
    },
    Parameter: { fields: fields({ name: "string 1", type: "uint32 2", ...scalars(3) }) },
  },
};

let known: protobuf.Type | undefined;

/** The message type, made when it is first needed: most gateways never see Sparkplug. */
export function payloadType(): protobuf.Type {
  return known ??= protobuf.Root.fromJSON({ nested: { Payload: PAYLOAD } }).lookupType("Payload");
}

/** Reads the message; a depth of 100 messages within messages is the library's own limit. */
export function readMessage(payload: Uint8Array): SparkplugMessage {
  refuseHuge(payload, "Sparkplug B");
  const reader = new CountingReader(payload);
  reader.discardUnknown = true;
  try {
    const message = payloadType().decode(reader);
    return payloadType().toObject(message, { longs: BigInt, arrays: true }) as SparkplugMessage;
  } catch (error) {
    const reason = error instanceof TypeError ? "a text is not valid UTF-8" : (error as Error).message;
    throw new UnreadableError(`not Sparkplug B, read up to byte ${reader.pos}: ${reason}`);
  }
}

class CountingReader extends protobuf.Reader {
  #fields = 0;

  override tag(): number {
    if (++this.#fields > VALUES_MAX) throw new Error(`more than ${VALUES_MAX} fields`);
    return super.tag();
  }
}
