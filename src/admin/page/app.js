// The page: which view is shown, requests to the API, and small helpers. Texts of clients are only ever set as
// text, never as markup.

import { views } from "/views.js";

export function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "on") for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  for (const child of children.flat(2)) if (child !== null && child !== undefined) made.append(child);
  return made;
}

export async function api(path, method = "GET", body = undefined) {
  const headers = method === "GET" ? {} : { "X-Ringmq-Request": "page" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch("/api/v1/" + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await answer.text();
  const value = text ? JSON.parse(text) : null;
  if (!answer.ok) throw new Error(value && value.detail ? value.detail : `HTTP status ${answer.status}`);
  return value;
}

// Lines of JSON as they come; `stop` is an AbortSignal.
export async function stream(path, body, stop, each) {
  const headers = { "X-Ringmq-Request": "page", "Content-Type": "application/json" };
  const answer = await fetch("/api/v1/" + path, { method: "POST", headers, body: JSON.stringify(body), signal: stop });
  if (!answer.ok) throw new Error((await answer.json()).detail);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    lines.forEach((line) => line && each(JSON.parse(line)));
  }
}

export function say(text, isBad = false) {
  const place = document.getElementById("message");
  place.textContent = text;
  place.className = isBad ? "bad" : "";
}

// Does something that the person asked for, and says what became of it.
export async function attempt(what, act) {
  try {
    await act();
    say(`${what}: done.`);
    return true;
  } catch (error) {
    say(`${what}: ${error.message}`, true);
    return false;
  }
}

export function confirmed(text) {
  const dialog = document.getElementById("ask");
  document.getElementById("ask-text").textContent = text;
  return new Promise((resolve) => {
    const end = (answer) => () => { dialog.close(); resolve(answer); };
    document.getElementById("ask-yes").onclick = end(true);
    document.getElementById("ask-no").onclick = end(false);
    dialog.oncancel = end(false);
    dialog.showModal();
  });
}

// Rows of objects; a column is [heading, field or function, class].
export function table(caption, columns, rows) {
  const head = columns.map(([name, , kind]) => make("th", { scope: "col", class: kind }, name));
  const cells = (row) => columns.map(([, field, kind]) => {
    const value = typeof field === "function" ? field(row) : row[field];
    const shown = value === null || value === undefined ? "–" : typeof value === "boolean" ? (value ? "yes" : "no") : value;
    return make("td", { class: kind }, shown instanceof Node ? shown : String(shown));
  });
  const body = rows.map((row) => make("tr", {}, cells(row)));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    make("table", {}, make("caption", {}, caption), make("thead", {}, make("tr", {}, head)), make("tbody", {}, body)));
}

export function field(label, input) {
  return make("label", {}, label, input);
}

export function button(text, act, kind = null) {
  return make("button", { type: "button", class: kind, on: { click: act } }, text);
}

let leave = new AbortController();

// What is repeated, and ended when another view is shown.
export function every(seconds, signal, act) {
  const again = async () => {
    if (signal.aborted) return;
    if (!document.hidden) {
      try { await act(); } catch (error) { if (!signal.aborted) say(error.message, true); }
    }
    if (!signal.aborted) setTimeout(again, seconds * 1000);
  };
  return again();
}

async function show() {
  leave.abort();
  leave = new AbortController();
  const [name, ...rest] = (location.hash.slice(1) || "overview").split("/");
  const view = views[name] || views.overview;
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.getAttribute("href") === "#" + name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const main = document.getElementById("main");
  main.replaceChildren(make("h1", {}, view.title));
  document.title = `${view.title} – ringmq`;
  say("");
  try { await view.show(main, leave.signal, rest.map(decodeURIComponent)); } catch (error) { say(error.message, true); }
}

const nav = document.getElementById("nav");
for (const [name, view] of Object.entries(views)) nav.append(make("a", { href: "#" + name }, view.title));
addEventListener("hashchange", async () => { await show(); document.getElementById("main").focus(); });
show();
every(10, new AbortController().signal, async () => {
  const broker = await api("broker");
  const hours = Math.floor(broker.uptime_s / 3600), minutes = Math.floor(broker.uptime_s / 60) % 60;
  document.getElementById("broker").textContent = `${broker.version}, ${broker.stage}, up ${hours} h ${minutes} min, ${broker.shards} shards, role ${broker.role}`;
});
