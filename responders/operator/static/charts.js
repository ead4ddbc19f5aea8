// The charts of the last 15 minutes. Colours are those of the style sheet, and every line has a dash of its own too.
import { byId, show, write } from "./elements.js";
import { clockTime, fill, measure, minuteTime, texts } from "./writing.js";

const WINDOW = 15 * 60, HEIGHT = 190;
const { charts: words, lanes } = texts;
const LANES = ["urgent", "live", "crl", "pre-signing", "issuance"];
const DASHES = [[], [6, 3], [2, 2], [10, 3, 2, 3], [14, 4]];

const CHARTS = {
  issued: [["issued", words.rate]],
  waits: LANES.map(lane => [`wait-${lane}`, lanes[lane]]),
  "ocsp-rate": [["ocsp-rate", words.rate]],
  "ocsp-latency": [["ocsp-p50", words.p50], ["ocsp-p99", words.p99]],
};

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** All charts of the page, fed with points whose columns are named. */
export class Charts {
  constructor() {
    this.columns = [];
    this.points = [];
    this.drawn = new Map();
    addEventListener("schemechange", () => this.redraw());
    this.sizes = new ResizeObserver(entries => {
      for (const { target, contentRect } of entries) {
        this.drawn.get(target.id.replace(/-chart$/, ""))?.setSize({ width: Math.floor(contentRect.width), height: HEIGHT });
      }
    });
    for (const name of Object.keys(CHARTS)) {
      const place = byId(`${name}-chart`);
      if (place) this.sizes.observe(place);
    }
  }

  /** Begin with the points that the server has kept. */
  begin({ columns, points }) {
    this.columns = columns;
    this.points = points;
  }

  add(point) {
    if (this.points.at(-1)?.[0] === point[0]) return;
    this.points.push(point);
    while (this.points[0][0] < point[0] - WINDOW) this.points.shift();
  }

  /** Draw what there is. */
  draw() {
    for (const [name, series] of Object.entries(CHARTS)) this.drawOne(name, series);
  }

  redraw() {
    for (const chart of this.drawn.values()) chart.destroy();
    this.drawn.clear();
    if (this.columns.length) this.draw();
  }

  column(name) {
    const place = this.columns.indexOf(name);
    return this.points.map(point => point[place]);
  }

  drawOne(name, series) {
    const place = byId(`${name}-chart`);
    if (!place || !this.points.length) return;
    const data = [this.column("at"), ...series.map(([column]) => this.column(column))];
    const empty = data.slice(1).every(values => values.every(value => value === null));
    show(place, !empty);
    show(byId(`${name}-empty`), empty);
    write(byId(`${name}-empty`), words.empty);
    const now = series.map(([, label], at) => [label, data[at + 1].at(-1)]).filter(([, value]) => value !== null);
    const said = now.map(([label, value]) => `${label} ${measure(value)}`).join(", ");
    write(byId(`${name}-now`), empty || !said ? "" : fill(words.described, said));
    if (empty) return;
    if (this.drawn.has(name)) this.drawn.get(name).setData(data);
    else {
      const chart = new uPlot(options(place, series, () => this.points.at(-1)[0]), data, place);
      chart.root.ariaHidden = "true"; // what it shows now is said in the line below it
      this.drawn.set(name, chart);
    }
  }
}

function options(place, series, newest) {
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--rule"), width: 1 }, ticks: { stroke: colour("--rule"), width: 1 } };
  return {
    width: Math.max(200, Math.floor(place.clientWidth)),
    height: HEIGHT,
    cursor: { drag: { x: false, y: false } },
    scales: { x: { time: true, range: () => [newest() - WINDOW, newest()] }, y: { range: (_, low, high) => [0, Math.max(high * 1.1, 1e-3)] } },
    axes: [
      { ...axis, space: 70, values: (_, splits) => splits.map(minuteTime) },
      { ...axis, size: 56, values: (_, splits) => splits.map(measure) },
    ],
    series: [
      { label: words.time, value: (_, at) => (at === null ? "–" : clockTime(at)) },
      ...series.map(([, label], at) => ({
        label, stroke: colour(`--line-${at + 1}`), width: 2, dash: DASHES[at], spanGaps: false, points: { show: false },
        value: (_, value) => (value === null || value === undefined ? "–" : measure(value)),
      })),
    ],
  };
}
