// The states of Sparkplug: edge nodes, one of them with its devices, and host applications.

import { api, button, every, make, table } from "/app.js";
import { pages } from "/views.js";

const encode = encodeURIComponent;
const number = "number";
const ROWS = 500;

const time = (ms) => ms === null ? null : new Date(ms).toLocaleString();
const nodeLink = (row) => make("a", { href: `#sparkplug/${encode(row.group)}/${encode(row.node)}` }, `${row.group}/${row.node}`);
const times = [["Born", (row) => time(row.born_at_ms)], ["Died", (row) => time(row.died_at_ms)], ["Last message", (row) => time(row.seen_at_ms)]];
const counts = [["Messages", "messages", number], ["Births", "births", number], ["Deaths", "deaths", number]];

function nodeTable(rows) {
  return table(`${rows.length} edge nodes`, [["Edge node", nodeLink], ["State", "state"], ["bdSeq", "bd_seq", number],
    ["Devices", (row) => `${row.devices_online} of ${row.devices_known} online`], ...times, ...counts, ["Gaps", "gaps", number],
    ["Births without death", "births_without_death", number]], rows);
}

function deviceTable(rows) {
  return table(`${rows.length} devices`, [["Device", "device"], ["State", "state"], ["Metrics", "metrics", number], ...times, ...counts], rows);
}

function hostTable(rows) {
  return table(`${rows.length} host applications`, [["Host", "host"], ["Online", "online"], ["Since", (row) => time(row.timestamp_ms)]], rows);
}

// A listing that is loaded anew on demand.
function list(main, what, rows, shown) {
  const place = make("div");
  main.append(place);
  return () => pages(place, async (cursor) => {
    const page = await api(`sparkplug/${what}?limit=${ROWS}${cursor === null ? "" : `&cursor=${encode(cursor)}`}`);
    return { rows: page[rows], next: page.next };
  }, shown);
}

export async function showPlants(main, signal, [group, node]) {
  const options = (await api("config")).options;
  if (!options.some((option) => option.name === "sparkplug" && String(option.value) === "true")) {
    main.append(make("p", {}, "It is off: the option sparkplug turns it on."));
    return;
  }
  if (node !== undefined) return showPlant(main, signal, group, node);
  const loads = [list(main, "nodes", "nodes", nodeTable), list(main, "hosts", "hosts", hostTable)];
  const load = () => Promise.all(loads.map((one) => one()));
  main.insertBefore(make("p", { class: "row" }, button("Look again", load)), main.children[1]);
  await load();
}

async function showPlant(main, signal, group, node) {
  const path = `nodes/${encode(group)}/${encode(node)}`;
  const place = make("div");
  main.append(make("h2", {}, `${group}/${node}`), place);
  await every(2, signal, async () => {
    const found = (await api(`sparkplug/${path}?limit=1`)).node;
    const rows = Object.entries(found).filter(([, value]) => value !== null).map(([name, value]) => {
      const text = name.endsWith("_at_ms") ? time(value) : String(value);
      return make("div", {}, make("dt", {}, name.replace(/_at_ms$/, " at").replaceAll("_", " ")), make("dd", {}, text));
    });
    place.replaceChildren(make("dl", {}, rows));
  });
  const load = list(main, path, "devices", deviceTable);
  await load();
}
