// The views, one for each thing of the API.

import { api, attempt, button, confirmed, every, field, make, say, stream, table } from "/app.js";
import { showPlants } from "/plants.js";
import { card, short, span } from "/plot.js";

const encode = encodeURIComponent;
const bytes = (count) => short(count) + "B";
const number = "number";

function input(name, attributes = {}) {
  return make("input", { name, autocomplete: "off", ...attributes });
}

function choice(name, values) {
  return make("select", { name }, values.map(([value, text]) => make("option", { value }, text)));
}

// A form whose values are given to `act` by name; `more` are buttons behind its own.
function form(text, act, fields, ...more) {
  const submit = (event) => {
    event.preventDefault();
    act(Object.fromEntries(new FormData(event.target)));
  };
  return make("form", { class: "row", on: { submit } }, fields, make("button", { type: "submit" }, text), more);
}

function query(values) {
  return Object.entries(values).filter(([, value]) => value !== "" && value !== null).map(([name, value]) => `${name}=${encode(value)}`).join("&");
}

// A listing with pages: `load` gives {rows, next} for a cursor.
export async function pages(place, load, shown) {
  const rows = [];
  const more = async (cursor) => {
    const page = await load(cursor);
    rows.push(...page.rows);
    const next = page.next ? button("More", () => attempt("More", () => more(page.next))) : null;
    place.replaceChildren(shown(rows), ...(next ? [next] : []));
  };
  await more(null);
}

const clientLink = (id) => make("a", { href: `#clients/${encode(id)}` }, id || "(empty)");

function clientTable(rows, act) {
  return table(`${rows.length} clients`, [
    ["Client", (row) => clientLink(row.client_id)], ["User", "user"], ["Address", "address"],
    ["Protocol", (row) => row.protocol && `${row.protocol} ${row.version ?? ""}`], ["State", (row) => row.mqtt_sn?.state ?? (row.connected ? "connected" : "away")], ["Subscriptions", "subscriptions", number], ["Queue", "queue_messages", number],
    ["In flight", "inflight", number], ["Dropped", "dropped", number], ["In", "publications", number], ["Out", "deliveries", number],
    ["Per second", (row) => row.deliveries_per_s === undefined ? null : `${row.publications_per_s} in, ${row.deliveries_per_s} out`],
    ["", (row) => row.connected ? button("Disconnect", () => act(row.client_id), "danger") : ""],
  ], rows);
}

async function disconnect(id, again) {
  if (await confirmed(`Disconnect the client ${id}?`)) {
    if (await attempt("Disconnect", () => api(`clients/${encode(id)}`, "DELETE"))) again();
  }
}

async function showClients(main, signal, [id]) {
  if (id !== undefined) return showClient(main, signal, id);
  const list = make("div");
  let wanted = {};
  const load = () => pages(list, async (cursor) => {
    const page = await api("clients?" + query({ ...wanted, limit: 100, cursor }));
    return { rows: page.clients, next: page.next };
  }, (rows) => clientTable(rows, (one) => disconnect(one, load)));
  const search = (values) => { wanted = values; attempt("Search", load); };
  main.append(form("Search", search, [
    field("Client id begins with", input("prefix")), field("User", input("user")), field("Address", input("address")),
    field("State", choice("connected", [["", "all"], ["true", "connected"], ["false", "away"]])),
    field("Protocol", choice("protocol", [["", "all"], ["mqtt", "MQTT"], ["mqtt-sn", "MQTT-SN"]])),
    field("Queue at least", input("min_queue", { type: "number", min: 0 })),
    field("Order", choice("sort", [["", "none"], ["rate", "messages per second"], ["queue", "queue"], ["dropped", "dropped"],
      ["publications", "messages in"], ["deliveries", "messages out"], ["bytes", "bytes"]]))]), list);
  await load();
}

const shownFields = (value) => Object.entries(value).filter(([, one]) => one !== null).map(([name, one]) => `${name.replaceAll("_", " ")}: ${one}`).join(", ");

async function showClient(main, signal, id) {
  const place = make("div"), subscriptions = make("div");
  main.append(make("h2", {}, id), place, subscriptions);
  await every(2, signal, async () => {
    const one = await api(`clients/${encode(id)}`);
    const rows = Object.entries(one).filter(([, value]) => value !== null).map(([name, value]) =>
      make("div", {}, make("dt", {}, name.replaceAll("_", " ")), make("dd", {}, typeof value === "object" ? shownFields(value) : String(value))));
    place.replaceChildren(make("dl", {}, rows));
  });
  const end = async () => {
    if (!await confirmed(`End the session of ${id}, with what waits in it?`)) return;
    if (await attempt("End session", () => api(`clients/${encode(id)}?session=end`, "DELETE"))) location.hash = "#clients";
  };
  const ban = async () => {
    if (await confirmed(`Ban ${id} for an hour?`)) await attempt("Ban", () => api("bans", "POST", { client: id, minutes: 60, reason: "by the page" }));
  };
  main.insertBefore(make("p", { class: "row" }, button("Disconnect", () => disconnect(id, () => {}), "danger"),
    button("End session", end, "danger"), button("Ban for an hour", ban, "danger"),
    make("a", { href: `#trace/client/${encode(id)}` }, "Trace its packets")), place);
  await pages(subscriptions, async (cursor) => {
    const page = await api(`clients/${encode(id)}/subscriptions?` + query({ cursor }));
    return { rows: page.subscriptions, next: page.next };
  }, subscriptionTable);
}

function subscriptionTable(rows) {
  return table(`${rows.length} subscriptions`, [["Client", (row) => clientLink(row.client_id)], ["Filter", "filter"], ["QoS", "qos", number],
    ["No Local", "no_local"], ["Identifier", "identifier", number], ["Connected", "connected"]], rows);
}

async function showSubscriptions(main) {
  const list = make("div");
  const load = (wanted) => pages(list, async (cursor) => {
    const page = await api("subscriptions?" + query({ ...wanted, cursor }));
    return { rows: page.subscriptions, next: page.next };
  }, subscriptionTable);
  main.append(form("Who receives it?", (values) => attempt("Search", () => load(values)), [field("Topic", input("topic", { required: true }))]),
    form("Which filters overlap?", (values) => attempt("Search", () => load(values)), [field("Filter", input("filter", { required: true }))]), list);
  await load({});
}

// Points of a counter's rate, and of a gauge.
const rates = (history, names) => {
  const places = names.map((name) => history.counters.indexOf(name));
  const sum = (sample) => places.reduce((all, place) => all + sample.counts[place], 0);
  return history.samples.slice(1).map((sample, at) => {
    const before = history.samples[at];
    return [sample.time_s, Math.max(sum(sample) - sum(before), 0) / Math.max(sample.time_s - before.time_s, 1)];
  });
};
const gauge = (history, name) => history.samples.map((sample) => [sample.time_s, sample[name]]);
const perSecond = (value) => short(value) + "/s";

// Median and 99th percentile of something that is measured, as two lines.
const percentiles = (history, name) => {
  const at = history.latencies.indexOf(name);
  const line = (which) => history.samples.map((sample) => [sample.time_s, sample.latencies_us[at] === null ? null : sample.latencies_us[at][which]]);
  return [["p50", line(0)], ["p99", line(1)]];
};
const HOUR = 720; // samples

// The history so far: all of it at first, then what is new.
async function renewed(history) {
  if (history === null || history.samples.length === 0) return api("history");
  const last = history.samples[history.samples.length - 1].time_s;
  const { samples } = await api(`history?after=${last}`);
  return { ...history, samples: [...history.samples, ...samples].slice(-HOUR) };
}

async function showOverview(main, signal) {
  const cards = make("div", { class: "cards" }), drops = make("div");
  main.append(cards, make("h2", {}, "Dropped and refused since the start"), drops);
  const limit = (await api("broker")).memory_limit_bytes;
  const one = (points) => [["", points]];
  let history = null;
  await every(5, signal, async () => {
    history = await renewed(history);
    const dropped = history.counters.filter((name) => name.startsWith("dropped"));
    const both = (received, sent) => [["in", rates(history, [received])], ["out", rates(history, [sent])]];
    cards.replaceChildren(
      card("Messages", both("publications_received", "deliveries_sent"), perSecond),
      card("Bytes", both("bytes_received", "bytes_sent"), (value) => bytes(value) + "/s"),
      card("Messages dropped", one(rates(history, dropped)), perSecond),
      card("Delivery: from read to written", percentiles(history, "delivery"), span),
      card("PUBLISH to PUBACK or PUBREC", percentiles(history, "publish_ack"), span),
      card("CONNECT to CONNACK", percentiles(history, "connack"), span),
      card("Turns of the shards", percentiles(history, "turn"), span),
      card("Connections", one(gauge(history, "connections"))),
      card("Connections opened", one(rates(history, ["connections_opened"])), perSecond),
      card("Sessions", one(gauge(history, "sessions"))),
      card("Retained messages", one(gauge(history, "retained_messages"))),
      card(limit > 0 ? `Memory, of ${bytes(limit)} (memory-max)` : "Memory", one(gauge(history, "memory_bytes")), bytes));
    const newest = history.samples[history.samples.length - 1];
    const bad = (name) => /dropped|refused|errors|malformed|banned|timeouts|unavailable|wrong|busy/.test(name);
    const rows = history.counters.map((name, at) => ({ name: name.replaceAll("_", " "), count: newest ? newest.counts[at] : 0, bad: bad(name) }));
    drops.replaceChildren(table("By reason; those that have happened", [["Reason", "name"], ["Count", "count", number]],
      rows.filter((row) => row.bad && row.count > 0)));
  });
}

async function showShards(main, signal) {
  const place = make("div");
  main.append(place);
  let before = null;
  await every(2, signal, async () => {
    const { shards } = await api("shards");
    const at = performance.now();
    const rate = (row, name) => {
      const old = before && before.shards[row.shard];
      return old ? perSecond((row.counters[name] - old.counters[name]) / (at - before.at) * 1000) : null;
    };
    const sides = [["Messages in", "publications_received"], ["Messages out", "deliveries_sent"], ["Connections opened", "connections_opened"]]
      .map(([title, name]) => [title, rateOf(name), number]);
    function rateOf(name) { return (row) => rate(row, name); }
    place.replaceChildren(table("Shards side by side", [["Shard", "shard", number], ["Connections", "connections", number], ["Sessions", "sessions", number],
      ...sides, ["Retained", "retained_messages", number], ["Retained bytes", (row) => bytes(row.retained_bytes), number]], shards),
    ...[make("h2", {}, "All counters"), table("Since the start", [["Counter", "name"], ...shards.map((one) => [`Shard ${one.shard}`, (row) => row.counts[one.shard], number])],
      Object.keys(shards[0].counters).map((name) => ({ name: name.replaceAll("_", " "), counts: shards.map((one) => one.counters[name]) }))
        .filter((row) => row.counts.some((count) => count > 0)))]);
    before = { at, shards };
  });
}

async function branch(place, below, message) {
  const list = make("ul", { class: "tree" });
  place.append(list);
  const more = async (after) => {
    const page = await api("retained/levels?" + query({ below: below === null ? "" : below, after: after === null ? "" : after, limit: 100 }));
    for (const level of page.levels) {
      const topic = below === null ? level.name : `${below}/${level.name}`;
      const item = make("li"), row = make("div", { class: "row" });
      item.append(row);
      const name = level.name || "(empty)";
      if (level.has_below) {
        const open = button("▸ " + name, async () => {
          const isOpen = open.getAttribute("aria-expanded") === "true";
          open.setAttribute("aria-expanded", String(!isOpen));
          open.textContent = (isOpen ? "▸ " : "▾ ") + name;
          if (isOpen) item.querySelector("ul").remove();
          else await attempt("Open", () => branch(item, topic, message));
        });
        open.setAttribute("aria-expanded", "false");
        row.append(open);
      } else row.append(name);
      if (level.has_message) row.append(button(`Show ${name}`, () => attempt("Show", () => message(topic))));
      list.append(item);
    }
    if (page.next) {
      const next = button("More", async () => { next.remove(); await attempt("More", () => more(page.next)); });
      list.append(make("li", {}, next));
    }
  };
  await more(null);
}

async function showTopics(main, signal) {
  const shown = make("div"), tree = make("div"), live = make("pre", { "aria-label": "Publications" });
  const message = async (topic) => {
    const one = await api("retained/message?topic=" + encode(topic));
    const remove = async () => {
      if (!await confirmed(`Remove the retained message of ${topic}?`)) return;
      if (await attempt("Remove", () => api("retained/message?topic=" + encode(topic), "DELETE"))) { shown.replaceChildren(); load(); }
    };
    shown.replaceChildren(make("section", { class: "card" }, make("h2", {}, topic), make("pre", {}, one.payload ?? one.payload_base64),
      make("p", {}, `QoS ${one.qos}, ${one.payload_bytes} bytes${one.payload === undefined ? ", base64" : ""}`), button("Remove", remove, "danger")));
  };
  const load = async () => { tree.replaceChildren(); await branch(tree, null, message); };
  const publish = async (values) => {
    const body = { topic: values.topic, payload: values.payload, qos: Number(values.qos), retain: values.retain === "on" };
    if (await attempt("Publish", () => api("publish", "POST", body)) && body.retain) await load();
  };
  let socket = null;
  const stop = () => { if (socket) socket.close(1000); socket = null; };
  signal.addEventListener("abort", stop);
  const shownLine = (line) => line.event !== "publication" ? JSON.stringify(line)
    : `${line.topic}  ${line.payload ?? line.payload_base64}  (QoS ${line.qos}${line.retain ? ", retain" : ""}, ${line.client_id ?? "broker"})`;
  const watch = (values) => {
    stop();
    live.textContent = "";
    const path = `live?filter=${encode(values.filter)}`;
    const own = new WebSocket(`${location.origin.replace("http", "ws")}/api/v1/${path}`);
    let isOpen = false;
    own.addEventListener("open", () => { isOpen = true; say("Live: what is published is shown for ten minutes, or until Stop."); });
    own.addEventListener("message", (event) => append(live, event.data.split("\n").filter((text) => text).map((text) => shownLine(JSON.parse(text)))));
    own.addEventListener("close", async () => {
      if (own !== socket) return; // stopped, or another one has begun
      if (isOpen) say("Live: over.");
      else await attempt("Live", () => api(path)); // a script is not shown why it was refused; the answer says it
    });
    socket = own;
  };
  main.append(make("h2", {}, "Live"), form("Watch", watch, [field("Filter", input("filter", { value: "#", required: true }))],
    button("Stop", () => { stop(); say("Live: stopped."); })), live,
    make("h2", {}, "Publish"), form("Publish", publish, [field("Topic", input("topic", { required: true })), field("Payload", input("payload")),
      field("QoS", choice("qos", [["0", "0"], ["1", "1"], ["2", "2"]])), make("label", { class: "check" }, input("retain", { type: "checkbox" }), "retain")]),
    make("h2", {}, "Retained messages"), shown, tree);
  await load();
}

function append(place, texts) {
  const isAtEnd = place.scrollTop + place.clientHeight >= place.scrollHeight - 4; // who has scrolled back reads
  const lines = place.textContent ? place.textContent.split("\n") : [];
  place.textContent = [...lines, ...texts].slice(-500).join("\n");
  if (isAtEnd) place.scrollTop = place.scrollHeight;
}

async function showListeners(main, signal) {
  const place = make("div");
  main.append(place);
  await every(5, signal, async () => {
    const { listeners } = await api("listeners");
    const until = (row) => {
      if (row.certificate_until_s === null) return null;
      const days = Math.floor((row.certificate_until_s * 1000 - Date.now()) / 86400000);
      return make("span", { class: days < 30 ? "bad" : null }, `${new Date(row.certificate_until_s * 1000).toLocaleDateString()} (${days} days)`);
    };
    place.replaceChildren(table("Listeners", [["Address", "name"], ["Transport", "transport"], ["Connections", "connections", number],
      ["Certificate until", until], ["Refused", (row) => Object.entries(row.refused).map(([name, count]) => `${name} ${count}`).join(", ")]], listeners));
  });
}

async function showBans(main) {
  const list = make("div");
  const load = async () => {
    const { bans } = await api("bans");
    const kind = (ban) => ["client", "user", "address"].find((name) => name in ban);
    const lift = async (ban) => {
      if (await attempt("Lift", () => api(`bans?${kind(ban)}=${encode(ban[kind(ban)])}`, "DELETE"))) await load();
    };
    list.replaceChildren(table(`${bans.length} bans`, [["Kind", kind], ["Whom", (ban) => ban[kind(ban)]],
      ["Until", (ban) => ban.until_s === null ? "lifted" : new Date(ban.until_s * 1000).toLocaleString()], ["By", "by"], ["Reason", "reason"],
      ["", (ban) => button("Lift", () => lift(ban))]], bans));
  };
  const ban = async (values) => {
    const body = { [values.kind]: values.whom, reason: values.reason, minutes: values.minutes ? Number(values.minutes) : null };
    if (await confirmed(`Ban the ${values.kind} ${values.whom}, and disconnect whom it is?`)) {
      if (await attempt("Ban", () => api("bans", "POST", body))) await load();
    }
  };
  main.append(form("Ban", ban, [field("Kind", choice("kind", [["client", "client id"], ["user", "user"], ["address", "address"]])),
    field("Whom", input("whom", { required: true })), field("Minutes (none: until lifted)", input("minutes", { type: "number", min: 1 })),
    field("Reason", input("reason"))]), list);
  await load();
}

async function showLog(main, signal) {
  const place = make("pre", { tabindex: "0", "aria-label": "Lines of the log" });
  const level = choice("level", ["error", "warn", "info", "debug", "trace"].map((word) => [word, word]));
  level.value = (await api("log-level")).level;
  level.addEventListener("change", () => attempt("Log level", () => api("log-level", "PUT", { level: level.value })));
  const reload = async () => {
    await attempt("Reload", async () => {
      const answer = await api("reload", "POST");
      const wrong = answer.reloaded.filter((one) => one.problem).map((one) => `${one.what}: ${one.problem}`);
      if (wrong.length) throw new Error(wrong.join("; "));
    });
  };
  main.append(make("p", { class: "row" }, field("Level", level), button("Read files again", reload)), place);
  let last = 0;
  await every(2, signal, async () => {
    const { lines } = await api("log?after=" + last);
    if (lines.length === 0) return;
    append(place, lines.map((line) => line.text));
    last = lines[lines.length - 1].number;
  });
}

// The moment, the direction and the packet first, and what is left of a line behind them.
function traceLine({ time_ms, direction, client_id, packet, event, ...rest }) {
  const time = time_ms === undefined ? "" : new Date(time_ms).toISOString().slice(11, 23);
  const arrow = { in: "→ in ", out: "← out" }[direction] ?? "     ";
  const more = Object.entries(rest).filter(([, value]) => value !== null && value !== false)
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${typeof value === "object" ? JSON.stringify(value) : value}`);
  return `${time} ${arrow} ${packet ?? event} ${client_id ?? ""}  ${more.join(", ")}`;
}

async function showTrace(main, signal, [kind, whom]) {
  const place = make("pre", { tabindex: "0", "aria-label": "Packets" });
  let stop = null;
  const run = async (values) => {
    if (stop) stop.abort();
    stop = new AbortController();
    signal.addEventListener("abort", () => stop.abort());
    place.textContent = "";
    say("Trace: running.");
    const body = { [values.kind]: values.whom, seconds: Number(values.seconds) };
    if (values.payloads === "on") body.payload_bytes = 1000;
    try {
      await stream("trace", body, stop.signal, (line) => append(place, [traceLine(line)]));
      say("Trace: over.");
    } catch (error) { if (error.name !== "AbortError") say(`Trace: ${error.message}`, true); }
  };
  const kinds = choice("kind", [["client", "client id"], ["prefix", "client ids that begin with"], ["address", "address"], ["filter", "topic filter"]]);
  if (kind) kinds.value = kind;
  main.append(form("Start", run, [field("What", kinds), field("Which", input("whom", { required: true, value: whom ?? "" })),
    field("Seconds", input("seconds", { type: "number", min: 1, max: 3600, value: 60 })),
    make("label", { class: "check" }, input("payloads", { type: "checkbox" }), "with payloads")],
  button("Stop", () => { if (stop) stop.abort(); say("Trace: stopped."); })), place);
}

async function showConfig(main) {
  const { options } = await api("config");
  main.append(table("In force, and where each value was given", [["Option", "name"], ["Value", "value", "text"], ["From", "origin"]], options));
}

export const views = {
  overview: { title: "Overview", show: showOverview },
  shards: { title: "Shards", show: showShards },
  clients: { title: "Clients", show: showClients },
  topics: { title: "Topics", show: showTopics },
  subscriptions: { title: "Subscriptions", show: showSubscriptions },
  sparkplug: { title: "Sparkplug", show: showPlants },
  listeners: { title: "Listeners", show: showListeners },
  bans: { title: "Bans", show: showBans },
  log: { title: "Log", show: showLog },
  trace: { title: "Trace", show: showTrace },
  config: { title: "Configuration", show: showConfig },
};
