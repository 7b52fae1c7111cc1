// Open orders with their cancel button, and those that ended.

import { act } from "./actions.js";
import { amount, average, clock, moment, words } from "./format.js";
import { notice, tell } from "./notices.js";
import { connectionName, instanceName, loaded, newest, onChange, OPEN } from "./store.js";
import { setText, Table } from "./tables.js";

const MOST_CLOSED = 100;
const LOOKS = { filled: "good", rejected: "bad", expired: "warn", unknown: "warn" };

const arrow = (row) => (row.side === "buy" ? "▲ Buy" : "▼ Sell");
const side = { title: "Side", text: arrow, tone: (row) => (row.side === "buy" ? "good" : "bad"), small: (row) => (row.paper ? `${words(row.type)} · paper` : words(row.type)) };
const symbol = { title: "Symbol", kind: "name", text: (row) => row.symbol, small: (row) => connectionName(row.connection) };
const by = { title: "By", text: (row) => instanceName(row.strategy_instance) };
const quantity = { title: "Quantity", kind: "number", text: (row) => amount(row.quantity) };
const filled = { title: "Filled", kind: "number", text: (row) => amount(row.filled_quantity), small: (row) => share(row) };
const paid = { title: "Average", kind: "number", text: (row) => average(row.average_price) };
const price = { title: "Price", kind: "number", text: (row) => (row.price ? amount(row.price) : row.stop_price ? `stop ${amount(row.stop_price)}` : "market") };
const status = { title: "Status", kind: "tag", text: (row) => words(row.status), tone: (row) => LOOKS[row.status] ?? "soft", hint: (row) => row.reject_reason ?? "" };
const reason = { title: "Reason", kind: "whole", text: (row) => row.reject_reason || "" };
const placed = { title: "Placed", kind: "time", text: (row) => clock(row.created_at), hint: (row) => moment(row.created_at) };
const ended = { title: "Ended", kind: "time", text: (row) => clock(row.updated_at), hint: (row) => moment(row.updated_at) };

function share(row) {
  const part = Number(row.filled_quantity) / Number(row.quantity);
  return part > 0 && part < 1 ? `${Math.floor(part * 100)} %` : "";
}

export const describe = (row) => `${row.side} ${amount(row.quantity)} ${row.symbol}`;

const cancel = {
  title: "Cancel",
  actions: (row) => [{ label: "Cancel", name: `${describe(row)}${row.price ? ` at ${amount(row.price)}` : ""}`, run: (button) => act(button, `/console/orders/${row.id}/cancel`) }],
};

const id = (row) => row.id;
const open = new Table(document.getElementById("panel-orders"), {
  caption: "Open orders", key: id, columns: [symbol, side, by, quantity, price, filled, status, placed, cancel],
  empty: () => ({ text: "No open orders. What you or a strategy places rests here until it is filled." }),
});
const closed = new Table(document.getElementById("panel-closed"), {
  caption: "Closed orders", key: id, columns: [symbol, side, by, quantity, price, filled, paid, status, reason, ended],
  empty: () => ({ text: "No orders have ended yet." }),
});

function draw() {
  if (!loaded) return;
  const all = newest("orders", "created_at");
  const waiting = all.filter((row) => OPEN.has(row.status));
  open.draw(waiting);
  closed.draw(all.filter((row) => !OPEN.has(row.status)).sort((a, b) => Date.parse(b.updated_at) - Date.parse(a.updated_at)).slice(0, MOST_CLOSED));
  const count = String(waiting.length);
  setText(document.querySelector("#tab-orders b"), count);
  setText(document.querySelector("#open-count b"), count);
  document.getElementById("open-count").setAttribute("aria-label", `Open orders: ${count}`);
}

onChange(["orders", "connections", "instances"], draw);

/** What became of an order, when it wasn't known before. */
export function report(known, row) {
  if (known?.status === row.status) return;
  if (row.status === "rejected") {
    notice({ key: `rejected ${row.id}`, level: "bad", text: `Rejected: ${describe(row)} – ${row.reject_reason || words(row.reject_code)}`, at: row.updated_at });
  } else if (row.status === "unknown") {
    notice({ key: `unknown ${row.id}`, level: "warn", text: `The exchange hasn't confirmed: ${describe(row)}. It is being asked.`, at: row.updated_at });
  } else if (row.status === "filled") {
    tell(`Filled: ${describe(row)}${row.average_price ? ` at ${average(row.average_price)}` : ""}`);
  }
}

/** What a snapshot tells of troubles from before the page was open: for the list, not for the ear. */
export function reportOld(rows) {
  for (const row of rows) {
    if (row.status === "rejected") notice({ key: `rejected ${row.id}`, level: "bad", text: `Rejected: ${describe(row)} – ${row.reject_reason || words(row.reject_code)}`, at: row.updated_at, show: false });
  }
}
