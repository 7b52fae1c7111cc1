// The order ticket: the server's form, told about the chosen market, and careful when prices are old.

import { ask, openPanel } from "./actions.js";
import { chosen, onChoose } from "./market.js";
import { onChange, lists, loaded, priceOf } from "./store.js";
import { span } from "./format.js";
import { element, setText } from "./tables.js";

const host = document.getElementById("ticket-form");
const warning = document.getElementById("ticket-warning");
let link = { state: "connecting", age: null };
let sure = false;

const form = () => host.querySelector("form");
const field = (name) => form()?.elements.namedItem(name);

function load() {
  htmx.ajax("GET", `/console/orders/new?${new URLSearchParams({ connection: chosen.connection, symbol: chosen.symbol })}`, { source: host, target: host });
}

function usePrice(side) {
  const price = priceOf(chosen.connection, chosen.symbol)?.[side];
  if (!price || !field("price")) return;
  if (field("type").value === "market") field("type").value = "limit";
  field("price").value = price;
  field("price").focus();
}
for (const side of ["bid", "ask"]) document.getElementById(`use-${side}`).addEventListener("click", () => usePrice(side));

onChoose((connection, symbol) => {
  if (!form()) { load(); return; }
  if (field("connection")) field("connection").value = connection;
  if (field("symbol")) field("symbol").value = symbol;
});

let accounts = null;
onChange(["connections"], () => {
  if (!loaded) return;
  const now = [...lists.connections.values()].map((row) => `${row.id} ${row.name}`).sort().join();
  if (!lists.connections.size) {
    host.replaceChildren(element("div", { className: "hollow" },
      element("p", { textContent: "Orders need an exchange account." }),
      element("button", { type: "button", className: "small", textContent: "Bind an exchange account", onclick: () => openPanel("Bind an exchange account", "/console/connections/new") })));
  } else if (accounts !== null && accounts !== now) load();
  accounts = now;
});

/** Orders on old prices are asked about twice. */
export function showLink(state, age) {
  link = { state, age };
  const bad = state === "stale" || state === "offline";
  if (warning.hidden === bad) warning.hidden = !bad;
  if (bad) setText(warning, state === "offline" ? "Not connected: an order may not arrive, and prices are old." : "Prices are old: look before you order.");
}

document.addEventListener("submit", async (event) => {
  if (event.target !== form() || link.state === "live" || sure) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const { submitter, target } = event;
  sure = await ask(link.age === null ? "The desk isn't connected yet. Place the order anyway?" : `Prices are ${span(link.age)} old. Place the order anyway?`, "Place it");
  if (sure) target.requestSubmit(submitter);
  sure = false;
}, true);
