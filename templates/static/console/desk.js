// The desk: brings the parts together and feeds them from the live socket.

import "./actions.js";
import "./connections.js";
import "./headroom.js";
import "./killswitch.js";
import "./trades.js";
import * as chart from "./chart.js";
import * as equity from "./equity.js";
import { amount, span } from "./format.js";
import { drawQuote } from "./market.js";
import { tell } from "./notices.js";
import * as orders from "./orders.js";
import { LIST_OF } from "./shapes.js";
import * as store from "./store.js";
import * as strategies from "./strategies.js";
import { Stream } from "./stream.js";
import { draw as drawSummary } from "./summary.js";
import { setText } from "./tables.js";
import * as ticket from "./ticket.js";

const SKEW_MS = 5000;
// What only snapshots tell, like a strategy's figures, is asked for a while after something happened, once for all of it.
const SETTLE_MS = 10_000;
const LINK = {
  live: () => "Live",
  connecting: () => "Connecting…",
  stale: (age) => `Stale · ${span(age)}`,
  offline: (age) => (age === null ? "Offline" : `Offline · ${span(age)}`),
};

let shownState = "connecting";
let settling = 0;

const stream = new Stream({ onSnapshot, onEvent, onPrices, onBeat });

function onSnapshot(data) {
  const gap = shownState !== "live";
  const known = new Map(store.lists.orders);
  const first = !store.loaded;
  store.takeSnapshot(data);
  if (first) orders.reportOld(data.orders ?? []);
  else {
    // An order that is new here may be heard of by the snapshot first: what is older than all we knew was only forgotten.
    const newest = Math.max(0, ...[...known.values()].map((row) => Date.parse(row.updated_at)));
    for (const row of data.orders ?? []) {
      if (known.has(row.id) || Date.parse(row.updated_at) > newest) orders.report(known.get(row.id), row);
    }
  }
  for (const row of data.instances ?? []) strategies.report(row, !first);
  if (gap && !first) chart.refresh();
  equity.refresh(() => stream.now());
}

function onEvent(kind, data) {
  if (kind === "candle") { chart.takeCandle(data); return; }
  if (kind === "headroom") { store.replace("headroom", data); return; }
  if (kind === "equity") { equity.refresh(() => stream.now()); return; }
  if (kind === "instance") {
    // News of an instance are in part; of one that isn't known the rest is asked for.
    if (!store.lists.instances.has(data.id)) { stream.askForSnapshot(); return; }
    const { performance: _, ...rest } = data;
    store.put("instances", rest);
    strategies.report({ ...store.lists.instances.get(data.id) });
  } else if (LIST_OF[kind]) {
    const known = store.put(LIST_OF[kind], data);
    if (kind === "order") orders.report(known, data);
  }
  settling ||= setTimeout(() => { settling = 0; stream.askForSnapshot(); }, SETTLE_MS);
}

function onPrices(rows) {
  for (const row of rows) store.put("prices", row);
}

function onBeat({ state, age, skew }) {
  if (document.body.dataset.link !== state) document.body.dataset.link = state;
  setText(document.getElementById("link-text"), LINK[state](age));
  const stale = state === "stale" || state === "offline";
  document.getElementById("stale").hidden = !stale;
  if (stale) {
    const from = age === null ? "" : ` Data is from ${span(age)} ago.`;
    setText(document.getElementById("stale-text"), state === "offline" ? `No connection to the server.${from}` : from.trim());
  }
  if (state !== shownState) {
    if (stale && shownState === "live") tell("The desk is out of date. It is reconnecting.", true);
    if (state === "live" && shownState !== "connecting") tell("The desk is live again.");
    shownState = state;
  }
  ticket.showLink(state, age);
  drawClock(skew);
  drawSummary();
  quote();
}

function drawClock(skew) {
  const shown = document.getElementById("skew");
  shown.hidden = Math.abs(skew) < SKEW_MS;
  if (!shown.hidden) setText(shown, `▲ This clock is ${span(Math.abs(skew))} ${skew > 0 ? "ahead" : "behind"}`);
}

function quote() {
  const { price, symbol } = drawQuote(stream.now());
  const title = price ? `${amount(price)} ${symbol} – DES` : "DES";
  const shown = shownState === "live" || shownState === "connecting" ? title : `▲ ${shownState} – ${title}`;
  if (document.title !== shown) document.title = shown;
}

store.onChange(["prices"], quote);
chart.start(stream);
document.getElementById("reconnect").addEventListener("click", () => stream.reconnect());
document.addEventListener("des-changed", () => stream.askForSnapshot());
