/**
 * A simulated home: rooms with climate sensors, plugs, a door, a heat pump and one broken sensor, publishing under
 * `Home/` what real devices publish. Values walk at random from a seed; payloads have the shapes of Zigbee2MQTT,
 * Tasmota, Shelly and ESPHome devices.
 */
import { sleep } from "../clock.ts";

export interface SimulatedMessage {
  readonly topic: string;
  readonly payload: string;
  readonly retain: boolean;
}

/** Publishes one message; resolves when the broker has accepted it. */
export type Publish = (message: SimulatedMessage) => Promise<void>;

const ROOMS = ["kitchen", "living_room", "bedroom", "attic", "bathroom"] as const;
const PLUGS = ["washing_machine", "fridge", "desk"] as const;
/** How often the broken sensor sends half a payload. */
const BROKEN_EVERY = 40;

export class SimulatedHome {
  readonly #random: () => number;
  readonly #temperature = new Map<string, number>(ROOMS.map((room, i) => [room, 19 + i]));
  readonly #energyWh = new Map<string, number>(PLUGS.map((plug) => [plug, 1_000]));
  #tick = 0;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** What the home says in the next moment: one to three messages. */
  next(): SimulatedMessage[] {
    const tick = this.#tick++;
    const messages = [this.#climate(ROOMS[tick % ROOMS.length])];
    if (tick % 2 === 0) messages.push(this.#plug(PLUGS[(tick / 2) % PLUGS.length]));
    if (tick % 3 === 0) messages.push(this.#heatPump());
    if (tick % 5 === 0) messages.push(this.#shelly());
    if (tick % 7 === 0) messages.push(this.#door());
    if (tick % BROKEN_EVERY === BROKEN_EVERY - 1) {
      messages.push({ topic: "Home/cellar/climate", payload: '{"temperature": 12.', retain: false });
    }
    return messages;
  }

  /** Publishes until `signal` is aborted, about `ratePerSecond` moments a second. */
  async live(publish: Publish, ratePerSecond: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await Promise.all(this.next().map(publish));
      await sleep(1_000 / ratePerSecond, signal).catch(() => {});
    }
  }

  /** Zigbee2MQTT: a Xiaomi WSDCGQ01LM. */
  #climate(room: string): SimulatedMessage {
    const temperature = this.#temperature.get(room)! + (this.#random() - 0.5) * 0.2;
    this.#temperature.set(room, temperature);
    const payload = {
      battery: 97,
      humidity: round(45 + 10 * this.#random(), 2),
      linkquality: Math.floor(60 + 90 * this.#random()),
      pressure: round(1010 + 4 * this.#random(), 1),
      temperature: round(temperature, 2),
    };
    return { topic: `Home/${room}/climate`, payload: JSON.stringify(payload), retain: false };
  }

  /** Tasmota: tele/%topic%/SENSOR of a plug with metering. */
  #plug(plug: string): SimulatedMessage {
    const power = Math.floor(5 + 200 * this.#random());
    const energyWh = this.#energyWh.get(plug)! + power / 60;
    this.#energyWh.set(plug, energyWh);
    const payload = {
      Time: new Date().toISOString().slice(0, 19),
      ENERGY: {
        Total: round(energyWh / 1_000, 3),
        Power: power,
        Factor: 0.97,
        Voltage: 231,
        Current: round(power / 231, 3),
      },
    };
    return { topic: `Home/tele/${plug}/SENSOR`, payload: JSON.stringify(payload), retain: false };
  }

  /** Shelly, second generation: status of a component, whose name has a colon. */
  #shelly(): SimulatedMessage {
    const payload = {
      id: 0,
      source: "HTTP_in",
      output: this.#random() > 0.5,
      apower: round(25 * this.#random(), 1),
      voltage: 239.7,
      aenergy: { total: round(913 + this.#tick / 100, 3) },
      temperature: { tC: 41.2, tF: 106.2 },
    };
    return {
      topic: "Home/shellyplus1pm-garage/status/switch:0",
      payload: JSON.stringify(payload),
      retain: false,
    };
  }

  /** ESPHome: plain text values. */
  #heatPump(): SimulatedMessage {
    return {
      topic: "Home/heatpump/sensor/flow_temperature/state",
      payload: round(32 + 5 * this.#random(), 1).toFixed(1),
      retain: true,
    };
  }

  #door(): SimulatedMessage {
    return {
      topic: "Home/hall/binary_sensor/front_door/state",
      payload: this.#random() > 0.5 ? "ON" : "OFF",
      retain: true,
    };
  }
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
