// The account and symbol that the chart and the ticket are about.

import { amount, decimals, span } from "./format.js";
import { feedOf, lists, loaded, onChange, priceOf, rows } from "./store.js";
import { element, setText } from "./tables.js";
import { showView } from "./tabs.js";

const KEY = "des.market";
const OLD_MS = 10_000;
const SYMBOL = /^[A-Z0-9._-]{1,20}\/[A-Z0-9._-]{1,20}(:[A-Z0-9]{1,20})?$/;
const connectionField = document.getElementById("market-connection");
const symbolField = document.getElementById("market-symbol");
const listeners = [];

export const chosen = { connection: null, symbol: null };

/** Calls listen(connection, symbol) whenever another market is chosen. */
export function onChoose(listen) {
  listeners.push(listen);
  if (chosen.connection) listen(chosen.connection, chosen.symbol);
}

/** Shows this market everywhere; ``reveal`` also brings the chart into sight. */
export function choose(connection, symbol, reveal = false) {
  const same = chosen.connection === connection && chosen.symbol === symbol;
  Object.assign(chosen, { connection, symbol });
  connectionField.value = connection;
  symbolField.value = symbol;
  try { localStorage.setItem(KEY, JSON.stringify(chosen)); } catch { /* it is a convenience only */ }
  if (reveal) {
    showView("market");
    document.getElementById("market").scrollIntoView({ block: "nearest" });
  }
  if (!same) for (const listen of listeners) listen(connection, symbol);
}

function first() {
  let kept = {};
  try { kept = JSON.parse(localStorage.getItem(KEY)) ?? {}; } catch { /* nothing kept */ }
  if (lists.connections.has(kept.connection) && SYMBOL.test(kept.symbol)) return kept;
  const row = rows("instances").find((one) => one.status === "running") ?? rows("instances")[0] ?? rows("positions")[0];
  return { connection: row?.connection ?? rows("connections")[0]?.id, symbol: row?.symbol ?? "BTC/USDT" };
}

function drawChoices() {
  if (!loaded) return;
  const accounts = rows("connections").sort((a, b) => (a.name < b.name ? -1 : 1));
  const shown = accounts.map((row) => `${row.id} ${row.name}`).join("\n");
  if (connectionField.dataset.shown !== shown) {
    connectionField.dataset.shown = shown;
    connectionField.replaceChildren(...(accounts.length ? accounts.map((row) => new Option(row.name, row.id)) : [new Option("No account yet", "")]));
    connectionField.disabled = symbolField.disabled = !accounts.length;
  }
  if (!lists.connections.has(chosen.connection)) {
    const { connection, symbol } = first();
    if (connection) choose(connection, symbol);
  } else connectionField.value = chosen.connection;
  drawSymbols();
}

function drawSymbols() {
  const feed = feedOf(chosen.connection);
  const known = new Set(rows("prices").filter((row) => row.feed === feed).map((row) => row.symbol));
  for (const list of ["instances", "positions", "orders"]) for (const row of rows(list)) if (row.connection === chosen.connection) known.add(row.symbol);
  const names = [...known].sort();
  const host = document.getElementById("market-symbols");
  if (host.dataset.shown === names.join()) return;
  host.dataset.shown = names.join();
  host.replaceChildren(...names.map((value) => element("option", { value })));
}

document.getElementById("market-form").addEventListener("submit", (event) => { event.preventDefault(); symbolField.blur(); });
connectionField.addEventListener("change", () => choose(connectionField.value, chosen.symbol));
symbolField.addEventListener("change", () => {
  const symbol = symbolField.value.trim().toUpperCase();
  symbolField.toggleAttribute("aria-invalid", !SYMBOL.test(symbol));
  if (SYMBOL.test(symbol)) { symbolField.removeAttribute("aria-invalid"); choose(chosen.connection, symbol); }
  else symbolField.setAttribute("aria-invalid", "true");
});

let last = null;
// As many digits as the market's prices were seen with, so that they don't jump about.
let digits = { symbol: null, count: 0 };

/** The quote line; ``now`` is by the server's clock. */
export function drawQuote(now) {
  const price = chosen.connection ? priceOf(chosen.connection, chosen.symbol) : null;
  const shown = price?.last ?? price?.bid;
  const figure = document.getElementById("quote-last");
  if (shown !== last) {
    const [before, after] = [Number(last), Number(shown)];
    figure.className = `last ${last === null || before === after ? "" : after > before ? "good" : "bad"}`;
    last = shown ?? null;
  }
  if (digits.symbol !== chosen.symbol) digits = { symbol: chosen.symbol, count: 0 };
  digits.count = Math.max(digits.count, decimals(price?.bid), decimals(price?.ask), decimals(shown));
  setText(figure, amount(shown, digits.count));
  setText(document.getElementById("quote-bid"), amount(price?.bid, digits.count));
  setText(document.getElementById("quote-ask"), amount(price?.ask, digits.count));
  const age = price?.seen_ms ? now - price.seen_ms : null;
  const old = age !== null && age > OLD_MS;
  const shownAge = document.getElementById("quote-age");
  setText(shownAge, age === null ? "–" : old ? `▲ ${span(age)}` : "now");
  shownAge.className = old ? "warn" : "";
  for (const side of ["bid", "ask"]) {
    const button = document.getElementById(`use-${side}`);
    button.disabled = !price?.[side];
    setText(button, `${side === "bid" ? "Bid" : "Ask"} ${amount(price?.[side], digits.count)}`);
  }
  return { price: shown ?? null, symbol: chosen.symbol };
}

onChange(["connections", "instances", "positions"], drawChoices);
