// The exchange accounts.

import { act, openPanel } from "./actions.js";
import { clock, words } from "./format.js";
import { notice } from "./notices.js";
import { loaded, onChange, rows } from "./store.js";
import { Table } from "./tables.js";

const bind = { label: "Bind an exchange account", run: () => openPanel("Bind an exchange account", "/console/connections/new") };

const table = new Table(document.getElementById("connections-table"), {
  caption: "Connections",
  key: (row) => row.id,
  columns: [
    { title: "Name", kind: "name", text: (row) => row.name, small: (row) => words(row.exchange) },
    { title: "Mode", text: (row) => row.mode },
    { title: "Key", text: (row) => row.api_key_masked || "none" },
    { title: "Used from", text: (row) => ({ true: "listed addresses", false: "any address" })[row.permissions?.ip_restricted] || "not known" },
    { title: "Key's age", text: (row) => (row.mode === "paper" ? "–" : `${row.key_age_days} days`) },
    { title: "State", kind: "tag", text: (row) => (row.status === "ok" ? "✓ ok" : `✕ ${words(row.status)}`), tone: (row) => (row.status === "ok" ? "good" : "bad") },
    { title: "Why", kind: "whole", text: (row) => row.status_reason || "" },
    { title: "Checked", kind: "time", text: (row) => (row.last_checked_at ? clock(row.last_checked_at) : "–") },
    {
      title: "Actions",
      actions: (row) => (row.mode === "paper" ? [] : [
        { label: "Test", name: row.name, run: (button) => act(button, `/console/connections/${row.id}/test`) },
        { label: "Key leaked", name: row.name, run: () => openPanel(`The key of ${row.name} leaked`, `/console/connections/${row.id}/leaked`) },
      ]).concat([
        { label: "Remove", name: row.name, run: () => openPanel(`Remove ${row.name}`, `/console/connections/${row.id}/delete`) },
      ]),
    },
  ],
  empty: () => ({ text: "DES trades on exchange accounts that you bind with an API key. It needs no right to withdraw.", button: bind }),
});

onChange(["connections"], () => {
  if (!loaded) return;
  const shown = rows("connections").sort((a, b) => (a.name < b.name ? -1 : 1));
  table.draw(shown);
  for (const row of shown) {
    if (row.key_is_old) notice({ key: `old key ${row.id} ${row.api_key_masked}`, level: "warn", text: `The key of ${row.name} is ${row.key_age_days} days old: make a new one.`, show: false });
    if (row.status !== "ok") notice({ key: `connection ${row.id} ${row.status} ${row.status_reason}`, level: "warn", text: `${row.name} is ${words(row.status)}. ${row.status_reason || ""}`, show: false });
  }
});
