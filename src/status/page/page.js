/**
 * The status page in the browser: asks /status.json once a second and shows it. Topics and payloads are strangers' words:
 * they become text, never HTML. It changes nothing.
 */
const POINTS = 300;
const arrived = [], stored = [];
let last;
const $ = (id) => document.getElementById(id);
const n = (value) => value.toLocaleString("en");

function duration(ms) {
  const s = ms / 1000;
  if (s < 1) return `${Math.round(ms)} ms`;
  if (s < 120) return `${Math.round(s)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  return `${Math.round(s / 3600)} h`;
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let i = 0;
  while (bytes >= 1024 && i < 3) bytes /= 1024, i++;
  return `${bytes < 10 && i > 0 ? bytes.toFixed(1) : Math.round(bytes)} ${units[i]}`;
}

function rows(id, list, cells) {
  const all = list.map((it) => {
    const tr = document.createElement("tr");
    for (const [text, name] of cells(it)) {
      const td = document.createElement("td");
      td.textContent = text;
      if (name) td.className = name;
      tr.append(td);
    }
    return tr;
  });
  $(id).replaceChildren(...all);
}

function sum(id, holds, text) {
  $(id).textContent = text;
  $(id).className = `sum ${holds ? "holds" : "broken"}`;
}

function chart(it) {
  // deno-lint-ignore sluice/time-from-clock -- this runs in a browser
  const now = performance.now();
  if (last) {
    const seconds = (now - last.now) / 1000;
    arrived.push(Math.max(0, (it.totals.received - last.received) / seconds));
    stored.push(Math.max(0, (it.totals.stored - last.stored) / seconds));
    if (arrived.length > POINTS) arrived.shift(), stored.shift();
  }
  last = { now, received: it.totals.received, stored: it.totals.stored };
  const most = Math.max(1, ...arrived, ...stored);
  const line = (values) =>
    values.map((v, i) =>
      `${(600 - (values.length - 1 - i) * 2).toFixed(1)},${(116 - v / most * 108).toFixed(1)}`
    ).join(" ");
  $("arrived").setAttribute("points", line(arrived));
  $("stored").setAttribute("points", line(stored));
  $("arrived-rate").textContent = n(Math.round(arrived.at(-1) ?? 0));
  $("stored-rate").textContent = n(Math.round(stored.at(-1) ?? 0));
}

function show(it) {
  const t = it.totals;
  document.title = `${it.name} · Sluice`;
  document.body.className = it.state;
  $("name").textContent = it.name;
  $("sentence").textContent = it.sentence ??
    (it.state === "ok"
      ? `All is well: ${n(t.stored)} stored, ${n(t.pending)} waiting, up ${duration(it.uptime_s * 1000)}.`
      : it.state);
  chart(it);
  sums(t);
  lanes(it.lanes);
  spool(it.spool);
  pool(it.pool);
  recent(it);
  $("version").textContent = `sluice ${it.version}`;
}

function sums(t) {
  sum(
    "sum-received",
    t.received === t.duplicate + t.unrouted + t.routed,
    `received ${n(t.received)} = duplicate ${n(t.duplicate)} + unrouted ${n(t.unrouted)} + routed ${
      n(t.routed)
    }`,
  );
  sum(
    "sum-deliveries",
    t.deliveries === t.stored + t.filtered + t.dead + t.dropped + t.pending,
    `deliveries ${n(t.deliveries)} = stored ${n(t.stored)} + filtered ${n(t.filtered)} + dead ${
      n(t.dead)
    } + dropped ${n(t.dropped)} + pending ${n(t.pending)}`,
  );
}

function lanes(all) {
  rows(
    "lanes",
    Object.entries(all),
    (
      [name, lane],
    ) => [[name], [n(lane.pending)], [`${lane.lag_s} s`], [
      lane.reason ?? lane.state,
      lane.reason ? "bad" : "",
    ]],
  );
}

function spool({ bytes, max_bytes, entries, dead_letters }) {
  $("spool-bar").style.width = `${Math.min(100, 100 * bytes / max_bytes)}%`;
  $("spool").textContent = `${n(entries)} waiting, ${size(bytes)} of ${size(max_bytes)}, ${
    n(dead_letters)
  } dead letters kept`;
}

function pool(p) {
  $("pool-section").hidden = !p;
  if (p) {
    const servers = [...new Set(p.connections.map((c) => c.server))].filter(Boolean);
    $("pool").textContent =
      `${p.idle} idle, ${p.leased} leased, ${p.connecting} connecting, ${p.waiting} waiting; size ${p.size}` +
      (servers.length > 0 ? `; at ${servers.join(", ")}` : "");
    rows(
      "connections",
      p.connections,
      (
        c,
      ) => [
        [String(c.id ?? "")],
        [c.state],
        [duration(c.age_s * 1000)],
        [c.idle_s === null ? "" : duration(c.idle_s * 1000)],
        [n(c.uses)],
        [c.recycle_in_s === null ? "never" : duration(Math.max(0, c.recycle_in_s) * 1000)],
      ],
    );
  }
}

function recent({ messages, dead_letters }) {
  const time = (iso) => iso.slice(11, 19);
  rows(
    "messages",
    messages.slice(0, 10),
    (m) => [[time(m.received_at), "time"], [m.topic, "code"], [m.payload, "code"], [m.table]],
  );
  rows(
    "dead",
    dead_letters.slice(0, 10),
    (m) => [[time(m.received_at), "time"], [m.topic, "code"], [m.payload, "code"], [m.reason, "why"]],
  );
}

async function tick() {
  try {
    const response = await fetch("/status.json" + location.search);
    if (!response.ok) throw new Error(`the gateway answers ${response.status}`);
    show(await response.json());
  } catch (error) {
    document.body.className = "degraded";
    $("sentence").textContent = `This page has lost the gateway: ${error.message}`;
  }
  setTimeout(tick, 1000);
}

tick();
