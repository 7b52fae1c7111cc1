// The newest fills.

import { amount, clock, moment, moneyDigits, quoteOf, signed, tone } from "./format.js";
import { connectionName, loaded, newest, onChange } from "./store.js";
import { Table } from "./tables.js";

const digits = (row) => moneyDigits(quoteOf(row.symbol));
const table = new Table(document.getElementById("panel-trades"), {
  caption: "Trades",
  key: (row) => row.id,
  columns: [
    { title: "Symbol", kind: "name", text: (row) => row.symbol, small: (row) => connectionName(row.connection) },
    { title: "Side", text: (row) => (row.side === "buy" ? "▲ Buy" : "▼ Sell"), tone: (row) => (row.side === "buy" ? "good" : "bad"), small: (row) => row.liquidity ?? "" },
    { title: "Quantity", kind: "number", text: (row) => amount(row.quantity) },
    { title: "Price", kind: "number", text: (row) => amount(row.price) },
    { title: "Fee", kind: "number", text: (row) => `${amount(row.fee)} ${row.fee_asset}` },
    { title: "Realised", kind: "number", text: (row) => (Number(row.realized_pnl) ? signed(row.realized_pnl, digits(row)) : "–"), hint: (row) => row.realized_pnl, tone: (row) => tone(row.realized_pnl, digits(row)) },
    { title: "Time", kind: "time", text: (row) => clock(row.executed_at), hint: (row) => moment(row.executed_at) },
  ],
  empty: () => ({ text: "No trades yet. Fills show up here and on the chart as they happen." }),
});

onChange(["trades", "connections"], () => { if (loaded) table.draw(newest("trades", "executed_at")); });
