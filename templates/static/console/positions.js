// What is held, worth what it could be sold for this moment; and what the accounts hold.

import { openPanel } from "./actions.js";
import { amount, average, moneyDigits, quoteOf, signed, tone } from "./format.js";
import { connectionName, lists, loaded, onChange, priceOf, rows } from "./store.js";
import { choose } from "./market.js";
import { setText, Table } from "./tables.js";

const held = (row) => Number(row.quantity) !== 0;

/** The price that a position is worth at: the live bid, else what the server knew. */
const markOf = (row) => priceOf(row.connection, row.symbol)?.bid ?? row.mark_price;

/** Unrealised profit in the quote asset as a number to show; null without a price. */
export function unrealized(row) {
  const mark = markOf(row);
  if (mark === null || mark === undefined) return row.unrealized_pnl === null || row.unrealized_pnl === undefined ? null : Number(row.unrealized_pnl);
  return (Number(mark) - Number(row.average_price)) * Number(row.quantity) * (row.side === "short" ? -1 : 1);
}

function percent(row) {
  const paid = Number(row.average_price) * Number(row.quantity);
  const won = unrealized(row);
  return won === null || !paid ? "" : `${signed((won / paid) * 100, 2)} %`;
}

const digits = (row) => moneyDigits(quoteOf(row.symbol));
const positions = new Table(document.getElementById("panel-positions"), {
  caption: "Positions",
  key: (row) => `${row.connection} ${row.symbol} ${row.side}`,
  columns: [
    { title: "Symbol", kind: "name", text: (row) => row.symbol, small: (row) => connectionName(row.connection) },
    { title: "Side", text: (row) => (held(row) ? row.side : "flat"), tone: (row) => (held(row) ? "" : "soft") },
    { title: "Quantity", kind: "number", text: (row) => amount(row.quantity) },
    { title: "Entry", kind: "number", text: (row) => (held(row) ? average(row.average_price) : "–") },
    { title: "Bid", kind: "number", text: (row) => amount(markOf(row)) },
    { title: "Unrealised", kind: "number", text: (row) => (held(row) && unrealized(row) !== null ? signed(unrealized(row), digits(row)) : "–"), small: (row) => (held(row) ? percent(row) : ""), tone: (row) => (held(row) ? tone(unrealized(row), digits(row)) : "soft") },
    { title: "Realised", kind: "number", text: (row) => signed(row.realized_pnl, digits(row)), tone: (row) => tone(row.realized_pnl, digits(row)) },
    { title: "Show", actions: (row) => [{ label: "Chart", name: row.symbol, run: () => choose(row.connection, row.symbol, true) }] },
  ],
  empty: () => (lists.connections.size
    ? { text: "Nothing is held. Positions open with the first fill." }
    : { text: "Nothing is held. Begin with an exchange account, or the simulator.", button: { label: "Bind an exchange account", run: () => openPanel("Bind an exchange account", "/console/connections/new") } }),
});

const balances = new Table(document.getElementById("panel-balances"), {
  caption: "Balances",
  key: (row) => `${row.connection} ${row.asset}`,
  columns: [
    { title: "Asset", kind: "name", text: (row) => row.asset, small: (row) => connectionName(row.connection) },
    { title: "Total", kind: "number", text: (row) => amount(row.total) },
    { title: "Available", kind: "number", text: (row) => amount(row.available) },
    { title: "Reserved", kind: "number", text: (row) => amount(row.reserved) },
  ],
  empty: () => ({ text: "Balances come when a strategy or an order uses the account." }),
});

onChange(["positions", "prices", "connections"], () => {
  if (!loaded) return;
  const shown = rows("positions").filter((row) => held(row) || Number(row.realized_pnl)).sort((a, b) => held(b) - held(a) || (a.symbol < b.symbol ? -1 : 1));
  positions.draw(shown);
  setText(document.querySelector("#tab-positions b"), String(shown.filter(held).length));
});
onChange(["balances", "connections"], () => {
  if (loaded) balances.draw(rows("balances").sort((a, b) => (`${connectionName(a.connection)} ${a.asset}` < `${connectionName(b.connection)} ${b.asset}` ? -1 : 1)));
});
