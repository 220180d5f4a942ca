// Plots: lines over the last hour, as SVG.

const SPACE = "http:" + "//www.w3.org/2000/svg";
const WIDTH = 600, HEIGHT = 100;

function shape(name, attributes) {
  const made = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export function short(value) {
  const units = ["", "k", "M", "G", "T"];
  let unit = 0;
  while (Math.abs(value) >= 1000 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return (unit > 0 && value < 100 ? value.toFixed(1) : Math.round(value * 10) / 10) + units[unit];
}

// A card with the newest value and a line of all: points are [seconds, value].
export function card(title, points, show = short) {
  const values = points.map((point) => point[1]);
  const newest = values.length ? show(values[values.length - 1]) : "–";
  const most = Math.max(...values, 1e-9);
  const first = points.length ? points[0][0] : 0;
  const span = points.length ? Math.max(points[points.length - 1][0] - first, 1) : 1;
  const label = `${title}: ${newest} now, at most ${show(values.length ? most : 0)} since ${clock(first)}`;
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label });
  svg.append(shape("line", { class: "axis", x1: 0, y1: HEIGHT - 1, x2: WIDTH, y2: HEIGHT - 1 }));
  const place = ([time, value]) => `${((time - first) / span * WIDTH).toFixed(1)},${(HEIGHT - 2 - value / most * (HEIGHT - 6)).toFixed(1)}`;
  svg.append(shape("polyline", { class: "plot", points: points.map(place).join(" ") }));
  const made = document.createElement("section");
  made.className = "card";
  const head = document.createElement("h2");
  head.textContent = title;
  const now = document.createElement("div");
  now.className = "now";
  now.textContent = newest;
  const ends = document.createElement("div");
  ends.className = "ends";
  for (const text of [points.length ? clock(first) : "", `max ${show(values.length ? most : 0)}`, "now"]) {
    const end = document.createElement("span");
    end.textContent = text;
    ends.append(end);
  }
  made.append(head, now, svg, ends);
  return made;
}

function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString();
}
