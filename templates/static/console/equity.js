// The equity line.

import { read } from "./api.js";
import { colour, onTheme } from "./colours.js";
import { amount, moneyDigits, signed, tone } from "./format.js";
import { element, setText } from "./tables.js";

const DAY = 86_400_000;
const SPANS = { "1D": DAY, "1W": 7 * DAY, "1M": 30 * DAY };
const HEIGHT = 148;
const EVERY_MS = 60_000;
const host = document.getElementById("equity-chart");
const note = document.getElementById("equity-note");
const figure = document.getElementById("equity-figure");

const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

let chosen = "1D";
let plot = null;
let points = [[], []];
let asset = "";
let readAt = -EVERY_MS;
let now = Date.now;

/** The newest value as {value, asset}, or null. */
export const equity = () => (points[1].length ? { value: points[1].at(-1), asset } : null);

async function load() {
  readAt = performance.now();
  const wanted = chosen;
  try {
    const found = await read("equity", { since: new Date(now() - SPANS[chosen]).toISOString() });
    if (wanted !== chosen) return;
    asset = found.asset ?? "";
    points = [found.points.map(([ms]) => ms / 1000), found.points.map(([, value]) => Number(value))];
    draw();
  } catch {
    if (points[0].length) return;
    note.hidden = false;
    setText(note, "The equity line can't be loaded now.");
  }
}

function draw() {
  const few = points[0].length < 2;
  note.hidden = !few;
  setText(note, few ? "The line begins once an account has been watched for some minutes." : "");
  drawFigure();
  if (few) { plot?.destroy(); plot = null; return; }
  if (plot) plot.setData(points);
  else make();
}

function drawFigure() {
  const [first, last] = [points[1][0], points[1].at(-1)];
  if (last === undefined) { figure.replaceChildren(); return; }
  const digits = moneyDigits(asset);
  const change = last - first;
  const share = first ? ` (${signed((change / first) * 100, 2)} %)` : "";
  figure.replaceChildren(
    element("b", { textContent: `${amount(String(last), digits)} ${asset}` }),
    element("span", { className: tone(change, digits), textContent: `${change > 0 ? "▲" : change < 0 ? "▼" : ""} ${signed(change, digits)}${share}` }),
  );
  host.setAttribute("aria-label", `Equity over ${chosen}: ${figure.textContent}`);
}

function make() {
  plot?.destroy();
  host.replaceChildren();
  const axis = { stroke: () => colour("soft"), grid: { stroke: () => colour("line", 0.55), width: 1 }, ticks: { show: false }, font: `11px ${getComputedStyle(document.body).fontFamily}` };
  plot = new window.uPlot({
    width: Math.max(host.clientWidth, 100), height: HEIGHT, legend: { show: false }, padding: [8, 20, 0, 0],
    cursor: { y: false, points: { size: 6 }, drag: { x: false } },
    scales: { x: { time: true } },
    axes: [{ ...axis, space: 64, size: 26, values: (_, ticks) => ticks.map((tick) => (chosen === "1D" ? minute : day).format(tick * 1000)) }, { ...axis, size: 62, space: 34, values: (_, ticks) => ticks.map((tick) => amount(String(Number(tick.toPrecision(10))))) }],
    series: [{}, { stroke: () => colour("main"), fill: () => colour("main", 0.1), width: 1.5, points: { show: false }, spanGaps: true }],
  }, points, host);
}

function drawSpans() {
  document.getElementById("equity-spans").replaceChildren(...Object.keys(SPANS).map((name) => element("button", {
    type: "button", textContent: name, "aria-pressed": String(name === chosen),
    onclick: ({ currentTarget }) => {
      chosen = name;
      for (const one of currentTarget.parentNode.children) one.setAttribute("aria-pressed", String(one === currentTarget));
      load();
    },
  })));
}

/** Reads the line again when it is old; ``clock`` gives the server's milliseconds. */
export function refresh(clock) {
  now = clock;
  if (performance.now() - readAt >= EVERY_MS) load();
}

drawSpans();
onTheme(() => { if (plot) make(); });
new ResizeObserver(() => {
  if (plot && host.clientWidth && plot.width !== host.clientWidth) plot.setSize({ width: host.clientWidth, height: HEIGHT });
}).observe(host);
