// The account in one line: equity, and profit by quote asset.

import { equity } from "./equity.js";
import { amount, moneyDigits, quoteOf, signed, tone } from "./format.js";
import { unrealized } from "./positions.js";
import { loaded, onChange, rows } from "./store.js";
import { element, setText } from "./tables.js";

const host = document.getElementById("summary");
const MOST_ASSETS = 2;
const cells = new Map();

function sums(value) {
  const found = new Map();
  for (const row of rows("positions")) {
    const one = value(row);
    if (one !== null) found.set(quoteOf(row.symbol), (found.get(quoteOf(row.symbol)) ?? 0) + one);
  }
  return [...found].sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, MOST_ASSETS);
}

function put(title, text, look = "") {
  if (!cells.has(title)) {
    const value = element("dd", { "data-live": "" });
    host.append(element("div", {}, element("dt", { textContent: title }), value));
    cells.set(title, value);
  }
  setText(cells.get(title), text);
  cells.get(title).className = look;
}

const money = (found) => (found.length ? found.map(([asset, value]) => `${signed(value, moneyDigits(asset))} ${asset}`).join(" · ") : "–");
const look = (found) => (found.length === 1 ? tone(found[0][1], moneyDigits(found[0][0])) : "");

export function draw() {
  if (!loaded) return;
  const now = equity();
  put("Equity", now ? `${amount(String(now.value), moneyDigits(now.asset))} ${now.asset}` : "–");
  const open = sums((row) => (Number(row.quantity) ? unrealized(row) : null));
  put("Unrealised", money(open), look(open));
  const closed = sums((row) => Number(row.realized_pnl));
  put("Realised", money(closed), look(closed));
}

onChange(["positions", "prices"], draw);
