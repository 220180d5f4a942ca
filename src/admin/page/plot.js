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

// Microseconds in the unit that fits.
export function span(us) {
  if (us < 1000) return `${Math.round(us)} µs`;
  return us < 1e6 ? `${(us / 1000).toFixed(1)} ms` : `${(us / 1e6).toFixed(2)} s`;
}

// Runs of points that follow one another: where nothing was measured there is a gap.
function runs(points) {
  const all = [[]];
  for (const point of points) {
    if (point[1] === null) all.push([]);
    else all[all.length - 1].push(point);
  }
  return all.filter((run) => run.length > 0);
}

// A card with the newest values and a line of all for each of `lines`: [name or "", points], points are [seconds, value].
export function card(title, lines, show = short) {
  const measured = lines.flatMap(([, points]) => points).filter((point) => point[1] !== null);
  const times = lines.flatMap(([, points]) => points.map((point) => point[0]));
  const most = Math.max(...measured.map((point) => point[1]), 1e-9);
  const first = Math.min(...times), last = Math.max(...times);
  const width = Math.max(last - first, 1);
  const newest = lines.map(([name, points]) => {
    const value = points.length ? points[points.length - 1][1] : null;
    return `${name ? name + " " : ""}${value === null ? "–" : show(value)}`;
  }).join(", ");
  const top = measured.length ? show(most) : "–";
  const since = times.length ? clock(first) : "";
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
    "aria-label": `${title}: ${newest} now, at most ${top} since ${since}` });
  svg.append(shape("line", { class: "axis", x1: 0, y1: HEIGHT - 1, x2: WIDTH, y2: HEIGHT - 1 }));
  const place = ([time, value]) => `${((time - first) / width * WIDTH).toFixed(1)},${(HEIGHT - 2 - value / most * (HEIGHT - 6)).toFixed(1)}`;
  lines.forEach(([, points], nth) => {
    for (const run of runs(points)) {
      const [[time, value]] = run;
      const shown = run.length > 1 ? run : [[time - width / WIDTH, value], [time, value]]; // a dot
      svg.append(shape("polyline", { class: `plot line${nth}`, points: shown.map(place).join(" ") }));
    }
  });
  const made = document.createElement("section");
  made.className = "card";
  const part = (name, kind, text) => {
    const one = document.createElement(name);
    if (kind) one.className = kind;
    one.textContent = text;
    return one;
  };
  const now = part("div", "now", "");
  lines.forEach(([name, points], nth) => {
    const value = points.length ? points[points.length - 1][1] : null;
    if (name) now.append(part("span", `name line${nth}`, name));
    now.append(part("span", "", value === null ? "–" : show(value)));
  });
  const ends = document.createElement("div");
  ends.className = "ends";
  ends.append(part("span", "", since), part("span", "", `max ${top}`), part("span", "", "now"));
  made.append(part("h2", "", title), now, svg, ends);
  return made;
}

function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString();
}
