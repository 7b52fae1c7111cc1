// The price chart: candles, own fills as arrows, open orders as dashed lines, the average entry as a dotted one.

import {
  CandlestickSeries, createChart, createSeriesMarkers, CrosshairMode, HistogramSeries, LineStyle,
} from "../vendor/lightweight-charts/lightweight-charts.standalone.production.mjs";
import { read } from "./api.js";
import { colour, onTheme } from "./colours.js";
import { amount, decimals, signed, span, tone } from "./format.js";
import { chosen, onChoose } from "./market.js";
import { lists, onChange, OPEN, priceOf, rows } from "./store.js";
import { element, setText } from "./tables.js";

const FRAMES = { "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14_400, "1d": 86_400 };
const KEY = "des.timeframe";
const PAGE = 500;
const MOST = 5000;
const MOST_FILLS = 200;
const RETRY_MS = 5000;
// How wide a candle begins.
const CANDLE_PX = 8;
// Lines past these would hide the candles.
const MOST_LINES = 20;
const host = document.getElementById("chart-canvas");
const note = document.getElementById("chart-note");

const stored = () => { try { return localStorage.getItem(KEY); } catch { return null; } };
let frame = FRAMES[stored()] ? stored() : "1m";
let candles = [];
let fills = [];
let lines = new Map();
// Of what is being loaded: an answer for another market or timeframe is thrown away.
let wanted = 0;
let complete = false;
let paging = false;
let retry = 0;
let clock = Date.now;

const chart = createChart(host, {
  autoSize: true,
  crosshair: { mode: CrosshairMode.Normal },
  // The logo comes with a style element, which the page's policy refuses; the link stands under the chart.
  layout: { attributionLogo: false, fontFamily: getComputedStyle(document.body).fontFamily, fontSize: 11 },
  localization: { priceFormatter: (price) => amount(String(price), digits), timeFormatter: (time) => stamp.format(time * 1000) },
  timeScale: { timeVisible: true, secondsVisible: false, rightOffset: 6, tickMarkFormatter: (time, kind) => (kind < 3 ? day : minute).format(time * 1000) },
});
const stamp = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
let digits = 2;
const series = chart.addSeries(CandlestickSeries, { priceLineStyle: LineStyle.Solid });
const volume = chart.addSeries(HistogramSeries, { priceScaleId: "volume", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false });
chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.86, bottom: 0 } });
series.priceScale().applyOptions({ scaleMargins: { top: 0.1, bottom: 0.18 } });
const markers = createSeriesMarkers(series, []);

function paint() {
  const [good, bad, line] = [colour("good"), colour("bad"), colour("line")];
  chart.applyOptions({
    layout: { background: { color: colour("panel") }, textColor: colour("soft") },
    grid: { vertLines: { color: colour("line", 0.55) }, horzLines: { color: colour("line", 0.55) } },
    timeScale: { borderColor: line }, rightPriceScale: { borderColor: line },
    crosshair: { vertLine: { color: colour("edge"), labelBackgroundColor: colour("edge") }, horzLine: { color: colour("edge"), labelBackgroundColor: colour("edge") } },
  });
  // Rising candles are hollow: the colour isn't the only sign.
  series.applyOptions({ priceLineColor: colour("edge"), upColor: colour("panel"), borderUpColor: good, wickUpColor: good, downColor: bad, borderDownColor: bad, wickDownColor: bad });
  volume.setData(candles.map(bar));
  for (const shown of lines.values()) series.removePriceLine(shown.line);
  lines = new Map();
  drawLines();
  drawFills();
}

const bar = ({ time, volume: value, open, close }) => ({ time, value, color: colour(close >= open ? "good" : "bad", 0.28) });
const step = () => FRAMES[frame];
const parsed = ([ms, open, high, low, close, traded]) => ({ time: ms / 1000, open: Number(open), high: Number(high), low: Number(low), close: Number(close), volume: Number(traded) });

/** In place of the chart; nothing to have the chart. ``bind`` offers what is missing. */
function say(text, bind = false) {
  note.hidden = !text;
  setText(note.firstElementChild, text ?? "");
  note.lastElementChild.hidden = !bind;
}

/** Loads the chosen market anew; what is shown stays until the answer when it is of the same market. */
async function load(clear) {
  clearTimeout(retry);
  const { connection, symbol } = chosen;
  if (!connection) return;
  const mine = ++wanted;
  if (clear) {
    candles = [];
    fills = [];
    complete = false;
    series.setData([]);
    volume.setData([]);
    say("Loading…");
  }
  try {
    const [{ candles: found }, traded] = await Promise.all([
      read("candles", { connection, symbol, timeframe: frame, limit: PAGE }),
      read("trades", { connection, symbol, limit: MOST_FILLS }),
    ]);
    if (mine !== wanted) return;
    digits = Math.max(0, ...found.slice(-50).flatMap((row) => row.slice(1, 5).map(decimals)));
    series.applyOptions({ priceFormat: { type: "price", precision: digits, minMove: 10 ** -digits } });
    const older = candles.filter(({ time }) => !found.length || time < found[0][0] / 1000);
    candles = [...(clear ? [] : older), ...found.map(parsed)];
    fills = traded.results;
    show(clear);
    say(candles.length ? null : `No prices for ${symbol} yet.`);
  } catch (error) {
    if (mine !== wanted) return;
    if (!candles.length) say(error.status === 400 || error.status === 404 ? `${symbol} isn't known here. ${error.message}` : "The chart can't be loaded now. It is being tried again.");
    if (error.status !== 400 && error.status !== 404) retry = setTimeout(() => load(clear && !candles.length), RETRY_MS);
  }
}

function show(fit) {
  series.setData(candles);
  volume.setData(candles.map(bar));
  drawLines();
  drawFills();
  if (fit) chart.timeScale().setVisibleLogicalRange({ from: candles.length - Math.round(host.clientWidth / CANDLE_PX), to: candles.length + 6 });
  describe();
}

/** More history, when the reader has scrolled to its beginning. */
async function page() {
  if (paging || complete || !candles.length || candles.length >= MOST) return;
  paging = true;
  const mine = wanted;
  try {
    const before = new Date(candles[0].time * 1000).toISOString();
    const { candles: found } = await read("candles", { ...chosen, timeframe: frame, limit: PAGE, before });
    if (mine !== wanted) return;
    const older = found.map(parsed).filter(({ time }) => time < candles[0].time);
    complete = !older.length;
    candles = [...older, ...candles];
    if (older.length) show(false);
  } catch { /* the next scrolling asks again */ } finally {
    paging = false;
  }
}

function grow(candle) {
  const last = candles.at(-1);
  if (!last || candle.time < last.time) return;
  if (candle.time === last.time) candles[candles.length - 1] = candle;
  else candles.push(candle);
  if (candles.length > MOST) { candles = candles.slice(-PAGE); show(false); return; }
  series.update(candle);
  volume.update(bar(candle));
  if (candle.time !== last.time) describe();
}

/** A price moves the last candle, or begins the next one. */
function tick() {
  const price = priceOf(chosen.connection, chosen.symbol);
  if (!price?.last || !candles.length) return;
  const close = Number(price.last);
  const time = Math.floor((price.seen_ms ?? clock()) / 1000 / step()) * step();
  const last = candles.at(-1);
  if (time > last.time) grow({ time, open: close, high: close, low: close, close, volume: 0 });
  else if (close !== last.close) grow({ ...last, close, high: Math.max(last.high, close), low: Math.min(last.low, close) });
  drawChange();
}

/** A forming candle from the server, which knows every trade. */
export function takeCandle({ connection, symbol, timeframe, candle }) {
  if (connection === chosen.connection && symbol === chosen.symbol && timeframe === frame) grow(parsed(candle));
}

function drawFills() {
  if (!candles.length) { markers.setMarkers([]); return; }
  const from = candles[0].time;
  const own = new Map(fills.map((row) => [row.id, row]));
  for (const row of lists.trades.values()) if (row.connection === chosen.connection && row.symbol === chosen.symbol) own.set(row.id, row);
  // One arrow a candle and side, with the number of fills that it stands for.
  const drawn = new Map();
  for (const row of own.values()) {
    const time = Math.floor(Date.parse(row.executed_at) / 1000 / step()) * step();
    if (time < from) continue;
    const key = `${time} ${row.side}`;
    const buy = row.side === "buy";
    const count = (drawn.get(key)?.count ?? 0) + 1;
    drawn.set(key, {
      time, count, position: buy ? "belowBar" : "aboveBar", shape: buy ? "arrowUp" : "arrowDown", color: colour(buy ? "good" : "bad"),
      text: count > 1 ? String(count) : "",
    });
  }
  markers.setMarkers([...drawn.values()].sort((a, b) => a.time - b.time));
}

function drawLines() {
  const due = new Map();
  for (const row of rows("orders")) {
    const price = row.price ?? row.stop_price;
    if (row.connection !== chosen.connection || row.symbol !== chosen.symbol || !OPEN.has(row.status) || !price || due.size >= MOST_LINES) continue;
    due.set(row.id, { price, side: row.side, style: LineStyle.Dashed, title: `${row.side === "buy" ? "▲ Buy" : "▼ Sell"} ${amount(row.quantity)}` });
  }
  const position = rows("positions").find((row) => row.connection === chosen.connection && row.symbol === chosen.symbol && Number(row.quantity));
  if (position) due.set("entry", { price: position.average_price, side: null, style: LineStyle.Dotted, title: "Entry" });
  for (const [id, shown] of lines) {
    const next = due.get(id);
    if (next && next.price === shown.price && next.title === shown.title) { due.delete(id); continue; }
    series.removePriceLine(shown.line);
    lines.delete(id);
  }
  for (const [id, { price, side, style, title }] of due) {
    const line = series.createPriceLine({ price: Number(price), color: colour(side === "buy" ? "good" : side === "sell" ? "bad" : "main"), lineWidth: 1, lineStyle: style, axisLabelVisible: true, title });
    lines.set(id, { line, price, title });
  }
}

function drawChange() {
  const shown = document.getElementById("quote-change");
  if (!candles.length) { setText(shown, ""); return; }
  const range = candles.slice(-PAGE);
  const [from, to] = [range[0].open, range.at(-1).close];
  const change = ((to - from) / from) * 100;
  setText(shown, `${change > 0 ? "▲" : change < 0 ? "▼" : ""} ${signed(change, 2)} % in ${span((range.at(-1).time - range[0].time + step()) * 1000)}`);
  shown.className = tone(change);
}

/** In words, for those who don't see it: with each new candle, not with each price. */
function describe() {
  drawChange();
  const last = candles.at(-1);
  if (!last) return;
  host.setAttribute("aria-label", `Price chart of ${chosen.symbol}, ${frame} candles: last ${amount(String(last.close), digits)}, ${document.getElementById("quote-change").textContent}, ${lines.size} lines of open orders or entries.`);
}

function drawFrames() {
  document.getElementById("timeframes").replaceChildren(...Object.keys(FRAMES).map((name) => element("button", {
    type: "button", textContent: name, "aria-pressed": String(name === frame),
    onclick: ({ currentTarget }) => {
      frame = name;
      try { localStorage.setItem(KEY, name); } catch { /* it holds until the page is left */ }
      for (const one of currentTarget.parentNode.children) one.setAttribute("aria-pressed", String(one === currentTarget));
      load(true);
    },
  })));
}

/** ``stream`` knows the server's time and watches the symbol. */
export function start(stream) {
  clock = () => stream.now();
  drawFrames();
  paint();
  onTheme(paint);
  onChoose((connection, symbol) => {
    stream.watch(connection, symbol);
    load(true);
  });
  onChange(["prices"], tick);
  onChange(["orders", "positions"], drawLines);
  onChange(["trades"], drawFills);
  onChange(["connections"], () => { if (!lists.connections.size) say("Prices come with an exchange account.", true); });
  chart.timeScale().subscribeVisibleLogicalRangeChange((range) => { if (range && range.from < 20) page(); });
}

/** After a gap: what was missed in between is on the server. */
export function refresh() {
  if (candles.length) load(false);
}
