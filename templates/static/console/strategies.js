// Strategies: their state, why they are in it, and what can be done with them.

import { act, openPanel } from "./actions.js";
import { amount, quoteOf, moneyDigits, signed, tone, words } from "./format.js";
import { notice } from "./notices.js";
import { connectionName, lists, loaded, onChange, rows } from "./store.js";
import { choose } from "./market.js";
import { Table } from "./tables.js";

const LOOKS = { running: "good", paused: "warn", error: "bad", stopped: "soft" };
const MARKS = { running: "▶", paused: "❚❚", error: "✕", stopped: "■" };
const ORDER = ["error", "running", "paused", "stopped"];

function actions(row) {
  const send = (what) => (button) => act(button, `/console/strategies/${row.id}/${what}`);
  const can = [];
  if (row.status !== "running") can.push({ label: row.status === "paused" ? "Resume" : "Start", name: row.name, run: send("start") });
  if (row.status === "running") can.push({ label: "Pause", name: row.name, run: send("pause") });
  if (row.status !== "stopped") can.push({ label: "Stop", name: row.name, run: send("stop") });
  if (row.status === "stopped") {
    can.push({ label: "Change", name: row.name, run: () => openPanel(`Change ${row.name}`, `/console/strategies/${row.id}/edit`) });
    can.push({ label: "Delete", name: row.name, run: () => openPanel(`Delete ${row.name}`, `/console/strategies/${row.id}/delete`) });
  }
  can.push({ label: "Chart", name: `${row.symbol} of ${row.name}`, run: () => choose(row.connection, row.symbol, true) });
  return can;
}

const percent = (share) => `${Math.round(Number(share) * 100)} %`;

const wins = (figures) => (figures?.results ? percent(figures.win_rate) : "–");

const week = (figures) => (figures?.last_7_days?.results ? `${percent(figures.last_7_days.win_rate)} in 7 days` : "");

const table = new Table(document.getElementById("strategies-table"), {
  caption: "Strategies",
  key: (row) => row.id,
  columns: [
    { title: "Name", kind: "name", text: (row) => row.name, small: (row) => `${words(row.strategy)} · ${connectionName(row.connection)}` },
    { title: "Market", kind: "brief", text: (row) => row.symbol, small: (row) => row.timeframe },
    { title: "State", kind: "tag", text: (row) => `${MARKS[row.status] ?? "?"} ${row.status}`, tone: (row) => LOOKS[row.status] ?? "" },
    { title: "Mode", text: (row) => row.mode },
    { title: "Holds", kind: "number", text: (row) => amount(row.held_quantity) },
    { title: "Trades", kind: "number", text: (row) => String(row.performance?.trades ?? "–") },
    { title: "Wins", kind: "number", text: (row) => wins(row.performance), small: (row) => week(row.performance) },
    { title: "Realised", kind: "number", text: (row) => (row.performance ? signed(row.performance.realized_pnl, moneyDigits(quoteOf(row.symbol))) : "–"), tone: (row) => tone(row.performance?.realized_pnl) },
    { title: "Why", kind: "whole", text: (row) => row.status_reason || "" },
    { title: "Actions", actions },
  ],
  empty: () => (lists.connections.size
    ? { text: "No strategies yet.", button: { label: "New strategy", run: () => openPanel("New strategy", "/console/strategies/new") } }
    : { text: "A strategy needs an exchange account to trade on.", button: { label: "Bind an exchange account", run: () => openPanel("Bind an exchange account", "/console/connections/new") } }),
});

onChange(["instances", "connections"], () => {
  if (loaded) table.draw(rows("instances").sort((a, b) => ORDER.indexOf(a.status) - ORDER.indexOf(b.status) || (a.name < b.name ? -1 : 1)));
});

/** A strategy that came into trouble. */
export function report(row, show = true) {
  if (row.status !== "error") return;
  notice({ key: `strategy ${row.id} ${row.updated_at}`, level: "bad", text: `Strategy ${row.name} stopped with an error: ${row.status_reason || "no reason given"}`, at: row.updated_at, show });
}
