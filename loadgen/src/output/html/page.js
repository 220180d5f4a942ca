'use strict';
(() => {
  const SVG = 'http://www.w3.org/2000/svg';
  const digits = (value, most) => Number(value.toFixed(most)).toLocaleString('en', {maximumFractionDigits: most});

  // A value as its axis has it.
  const shown = {
    's': (value) => digits(value, 1) + ' s',
    '/s': (value) => digits(value, value < 10 ? 1 : 0) + '/s',
    'clients': (value) => digits(value, 0),
    'errors': (value) => digits(value, 0) + '/s',
    'us': (us) => us >= 1e6 ? (us / 1e6).toFixed(2) + ' s' : us >= 1e3 ? (us / 1e3).toFixed(2) + ' ms' : digits(us, us < 10 ? 1 : 0) + ' µs',
    'percentile': (nines) => {
      const percent = 100 * (1 - Math.pow(10, -nines));
      return 'p' + Number(percent.toFixed(Math.max(0, Math.ceil(nines) - 1)));
    },
  };
  const format = (axis, value) => (shown[axis.unit] || String)(value);

  const place = (axis, value) => axis.scale === 'log' ? Math.log10(Math.max(value, 1e-300)) : value;
  const pixel = (axis, value) => {
    const share = (place(axis, value) - axis.span[0]) / (axis.span[1] - axis.span[0]);
    return axis.px[0] + (axis.px[1] - axis.px[0]) * Math.min(1, Math.max(0, share));
  };
  const value = (axis, at) => {
    const share = (at - axis.px[0]) / (axis.px[1] - axis.px[0]);
    const found = axis.span[0] + (axis.span[1] - axis.span[0]) * share;
    return axis.scale === 'log' ? Math.pow(10, found) : found;
  };

  const nearest = (points, x) => {
    let best = null;
    for (const point of points) {
      if (best === null || Math.abs(point[0] - x) < Math.abs(best[0] - x)) best = point;
    }
    return best;
  };

  for (const figure of document.querySelectorAll('figure[data-plot]')) {
    const plot = JSON.parse(figure.dataset.plot);
    const svg = figure.querySelector('svg');
    const tip = figure.querySelector('.tip');
    const marks = svg.appendChild(document.createElementNS(SVG, 'g'));
    const xs = [...new Set(plot.lines.flatMap((line) => line.points.map((point) => point[0])))].sort((a, b) => a - b);
    let at = -1; // place of the keyboard among xs or cells

    const add = (name, attributes) => {
      const element = marks.appendChild(document.createElementNS(SVG, name));
      for (const [key, text] of Object.entries(attributes)) element.setAttribute(key, text);
    };
    const say = (head, rows) => {
      tip.replaceChildren();
      const bold = tip.appendChild(document.createElement('b'));
      bold.textContent = head;
      for (const [color, text] of rows) {
        const row = tip.appendChild(document.createElement('span'));
        const mark = row.appendChild(document.createElement('i'));
        mark.style.background = color;
        row.append(text);
      }
      tip.hidden = false;
    };
    const hide = () => {
      marks.replaceChildren();
      tip.hidden = true;
    };
    const stage = (x) => {
      const found = plot.stages.find(([from, to]) => from <= x && x <= to);
      return found ? ', ' + found[2] : '';
    };

    const showLines = (x) => {
      marks.replaceChildren();
      const rows = [];
      let head = null;
      for (const line of plot.lines) {
        const point = nearest(line.points, x);
        if (point === null) continue;
        if (head === null) {
          head = point[0];
          const across = pixel(plot.x, head);
          add('line', {x1: across, x2: across, y1: plot.y.px[0], y2: plot.y.px[1], class: 'hair'});
        }
        add('circle', {cx: pixel(plot.x, point[0]), cy: pixel(plot.y, point[1]), r: 4, fill: line.color});
        rows.push([line.color, line.name + ' ' + format(plot.y, point[1])]);
      }
      if (head !== null) say(format(plot.x, head) + (plot.x.unit === 's' ? stage(head) : ''), rows);
    };
    const showCell = (cell) => {
      marks.replaceChildren();
      const [left, right] = [pixel(plot.x, cell[0]), pixel(plot.x, cell[1])];
      const [low, high] = [pixel(plot.y, cell[2]), pixel(plot.y, cell[3])];
      add('rect', {x: left, y: high, width: right - left, height: low - high, class: 'chosen'});
      const column = plot.cells.filter((other) => other[0] === cell[0]);
      const all = column.reduce((sum, other) => sum + other[4], 0);
      say(digits(cell[0], 1) + ' to ' + format(plot.x, cell[1]) + stage(cell[1]), [
        ['transparent', format(plot.y, cell[2]) + ' to ' + format(plot.y, cell[3])],
        ['transparent', digits(cell[4], 0) + ' of ' + digits(all, 0) + ' (' + digits(100 * cell[4] / all, 2) + ' %)'],
      ]);
    };

    svg.addEventListener('pointermove', (event) => {
      const box = svg.getBoundingClientRect();
      const across = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
      const down = (event.clientY - box.top) / box.height * svg.viewBox.baseVal.height;
      const [x, y] = [value(plot.x, across), value(plot.y, down)];
      if (plot.cells.length === 0) return showLines(x);
      const cell = plot.cells.find((own) => own[0] <= x && x < own[1] && own[2] <= y && y < own[3]);
      if (cell) showCell(cell); else hide();
    });
    svg.addEventListener('pointerleave', hide);
    figure.addEventListener('blur', hide);
    figure.addEventListener('keydown', (event) => {
      const count = plot.cells.length || xs.length;
      const steps = {ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: count - 1, PageDown: at + 10, PageUp: at - 10};
      if (event.key === 'Escape') return hide();
      if (!(event.key in steps) || count === 0) return;
      event.preventDefault();
      at = Math.min(count - 1, Math.max(0, steps[event.key]));
      if (plot.cells.length) showCell(plot.cells[at]); else showLines(xs[at]);
    });
  }

  const button = document.getElementById('scheme');
  const dark = matchMedia('(prefers-color-scheme: dark)');
  let scheme = dark.matches ? 'dark' : 'light';
  button.hidden = false;
  button.addEventListener('click', () => {
    scheme = scheme === 'dark' ? 'light' : 'dark';
    document.documentElement.style.colorScheme = scheme;
  });
})();
