// The console: what the tenant has, live, and what can be done with it.

import { call, enter, forget, leave } from "./api.js";
import { drawParams, readParams } from "./params.js";
import { Stream } from "./stream.js";
import { button, clock, element, fill, sign } from "./tables.js";

const $ = (id) => document.getElementById(id);
const STALE_MS = 10_000;
const MOST_ROWS = 100;
const ENDED = new Set(["filled", "cancelled", "rejected", "expired"]);

const lists = { orders: new Map(), trades: new Map(), positions: new Map(), balances: new Map(), instances: new Map(), connections: new Map() };
const prices = new Map();
const keys = {
  positions: (row) => `${row.connection} ${row.symbol} ${row.side}`,
  balances: (row) => `${row.connection} ${row.asset}`,
};
const keyOf = (list, row) => (keys[list] ?? ((one) => one.id))(row);
const KINDS = { order: "orders", trade: "trades", position: "positions", balance: "balances", instance: "instances" };

let stream = null;
let catalogue = [];
const dirty = new Set();

// Drawing: at most once a frame, only what changed.

const connectionName = (id) => lists.connections.get(id)?.name ?? "";
const instanceName = (id) => (id ? lists.instances.get(id)?.name ?? "" : "by hand");
const markOf = (row) => {
  const feed = feedOf(row.connection);
  return prices.get(`${feed} ${row.symbol}`)?.bid ?? row.mark_price;
};
const feedOf = (id) => {
  const connection = lists.connections.get(id);
  return connection ? `${connection.exchange}:${connection.mode === "paper" ? "live" : connection.mode}` : "";
};
const newestFirst = (field) => (a, b) => (a[field] < b[field] ? 1 : -1);

const draw = {
  prices() {
    const rows = [...prices.values()].sort((a, b) => (a.feed + a.symbol < b.feed + b.symbol ? -1 : 1));
    const old = (row) => (Date.now() - row.seen_ms > STALE_MS ? "stale" : "");
    fill($("prices"), [
      { title: "Symbol", value: (row) => row.symbol },
      { title: "Feed", value: (row) => row.feed },
      { title: "Bid", number: true, value: (row) => row.bid, tone: old },
      { title: "Ask", number: true, value: (row) => row.ask, tone: old },
      { title: "Last", number: true, value: (row) => row.last, tone: old },
      { title: "", value: (row) => (old(row) ? "stale" : ""), tone: old },
    ], rows, "No prices yet: they come with a connection and a strategy on it.");
  },
  positions() {
    const rows = [...lists.positions.values()].filter((row) => row.quantity !== "0" || row.realized_pnl !== "0");
    fill($("positions"), [
      { title: "Symbol", value: (row) => row.symbol },
      { title: "Account", value: (row) => connectionName(row.connection) },
      { title: "Quantity", number: true, value: (row) => row.quantity },
      { title: "Average", number: true, value: (row) => row.average_price },
      { title: "Price", number: true, value: markOf },
      { title: "Realised", number: true, value: (row) => row.realized_pnl, tone: (row) => sign(row.realized_pnl) },
    ], rows, "Nothing is held.");
  },
  balances() {
    fill($("balances"), [
      { title: "Account", value: (row) => connectionName(row.connection) },
      { title: "Asset", value: (row) => row.asset },
      { title: "Total", number: true, value: (row) => row.total },
      { title: "Available", number: true, value: (row) => row.available },
      { title: "Reserved", number: true, value: (row) => row.reserved },
    ], [...lists.balances.values()], "Balances come when a strategy or an order uses the account.");
  },
  orders() {
    const rows = [...lists.orders.values()].sort(newestFirst("created_at")).slice(0, MOST_ROWS);
    fill($("orders"), [
      { title: "Time", value: (row) => clock(row.created_at) },
      { title: "Symbol", value: (row) => row.symbol },
      { title: "Account", value: (row) => connectionName(row.connection) },
      { title: "By", value: (row) => instanceName(row.strategy_instance) },
      { title: "Side", value: (row) => row.side, tone: (row) => (row.side === "buy" ? "up" : "down") },
      { title: "Type", value: (row) => row.type },
      { title: "Quantity", number: true, value: (row) => row.quantity },
      { title: "Price", number: true, value: (row) => row.price },
      { title: "Filled", number: true, value: (row) => row.filled_quantity },
      { title: "At", number: true, value: (row) => row.average_price },
      { title: "Status", value: (row) => (row.reject_reason ? `${row.status}: ${row.reject_reason}` : row.status) },
      { title: "", value: (row) => (ENDED.has(row.status) ? "" : button("Cancel", () => act("DELETE", `orders/${row.id}`, "orders"))) },
    ], rows, "No orders yet.");
  },
  trades() {
    const rows = [...lists.trades.values()].sort(newestFirst("executed_at")).slice(0, MOST_ROWS);
    fill($("trades"), [
      { title: "Time", value: (row) => clock(row.executed_at) },
      { title: "Symbol", value: (row) => row.symbol },
      { title: "Account", value: (row) => connectionName(row.connection) },
      { title: "Side", value: (row) => row.side, tone: (row) => (row.side === "buy" ? "up" : "down") },
      { title: "Quantity", number: true, value: (row) => row.quantity },
      { title: "Price", number: true, value: (row) => row.price },
      { title: "Fee", number: true, value: (row) => `${row.fee} ${row.fee_asset}` },
      { title: "Realised", number: true, value: (row) => row.realized_pnl, tone: (row) => sign(row.realized_pnl) },
    ], rows, "No trades yet.");
  },
  instances() {
    fill($("instances"), [
      { title: "Name", value: (row) => row.name },
      { title: "Strategy", value: (row) => row.strategy },
      { title: "Account", value: (row) => connectionName(row.connection) },
      { title: "Symbol", value: (row) => `${row.symbol} ${row.timeframe}` },
      { title: "Status", value: (row) => (row.status_reason ? `${row.status}: ${row.status_reason}` : row.status), tone: (row) => (row.status === "running" ? "up" : row.status === "error" ? "down" : "") },
      { title: "Trades", number: true, value: (row) => row.performance.trades },
      { title: "Realised", number: true, value: (row) => row.performance.realized_pnl, tone: (row) => sign(row.performance.realized_pnl) },
      { title: "", value: instanceButtons },
    ], [...lists.instances.values()], "No strategies yet: make one below.");
  },
  connections() {
    fill($("connections"), [
      { title: "Name", value: (row) => row.name },
      { title: "Exchange", value: (row) => `${row.exchange} ${row.mode}` },
      { title: "Key", value: (row) => row.api_key_masked },
      { title: "Status", value: (row) => (row.status_reason ? `${row.status}: ${row.status_reason}` : row.status), tone: (row) => (row.status === "ok" ? "up" : "down") },
      { title: "", value: (row) => button("Test", () => act("POST", `connections/${row.id}/test`, "connections")) },
    ], [...lists.connections.values()], "No connections yet: bind an exchange account below.");
    for (const form of ["new-instance", "new-order"]) drawConnectionChoice($(form).elements.connection);
  },
};

function instanceButtons(row) {
  const line = element("span", null, "row");
  const offer = (name) => line.append(button(name, () => act("POST", `strategy-instances/${row.id}/${name.toLowerCase()}`, "instances")));
  if (row.status !== "running") offer("Start");
  if (row.status === "running") offer("Pause");
  if (row.status !== "stopped") offer("Stop");
  return line;
}

function drawConnectionChoice(select) {
  const chosen = select.value;
  select.replaceChildren(...[...lists.connections.values()].map((row) => new Option(row.name, row.id, false, row.id === chosen)));
}

function touch(...names) {
  if (!dirty.size) requestAnimationFrame(redraw);
  for (const name of names) dirty.add(name);
}

function redraw() {
  for (const name of dirty) draw[name]();
  dirty.clear();
}

// What comes from the server.

function put(list, row) {
  const key = keyOf(list, row);
  const known = lists[list].get(key);
  if (known?.updated_at && row.updated_at && known.updated_at > row.updated_at) return;
  lists[list].set(key, { ...known, ...row });
  trim(list);
  touch(list);
}

function trim(list) {
  if (lists[list].size <= 5 * MOST_ROWS || !(list === "orders" || list === "trades")) return;
  for (const [key, row] of lists[list]) {
    if (lists[list].size <= 4 * MOST_ROWS) return;
    if (list === "trades" || ENDED.has(row.status)) lists[list].delete(key);
  }
}

function takeSnapshot(data) {
  for (const [list, rows] of Object.entries(data)) {
    if (!lists[list]) continue;
    lists[list].clear();
    for (const row of [...rows].reverse()) lists[list].set(keyOf(list, row), row);
  }
  touch(...Object.keys(draw));
}

function takePrices(rows) {
  for (const row of rows) prices.set(`${row.feed} ${row.symbol}`, row);
  touch("prices", "positions");
}

function takeEvent(kind, data) {
  if (kind === "instance") {
    // News of an instance are in part; what they leave out, like its figures, stays.
    const known = lists.instances.get(data.id);
    if (known) put("instances", { ...data, performance: known.performance });
    else stream?.askForSnapshot();
    return;
  }
  if (KINDS[kind]) put(KINDS[kind], data);
  if (kind === "kill") showSwitches();
}

function showLink(state) {
  $("link").textContent = { live: "live", stale: "stale: reconnecting", connecting: "connecting" }[state];
  $("link").className = `pill ${state}`;
}

// What the user does.

function say(text, good = false) {
  $("notice").textContent = text;
  $("notice").className = good ? "good" : "";
  $("notice").hidden = !text;
}

async function attempt(work, done) {
  say("");
  try {
    const result = await work();
    if (done) say(done, true);
    return result;
  } catch (error) {
    say(error.message);
    return null;
  }
}

async function act(method, path, list) {
  const row = await attempt(() => call(method, path));
  if (row) put(list, row);
}

function onSubmit(id, work) {
  $(id).addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.target;
    const buttons = form.querySelectorAll("button");
    buttons.forEach((one) => { one.disabled = true; });
    try { await work(form, event.submitter?.value); } finally { buttons.forEach((one) => { one.disabled = false; }); }
  });
}

const values = (form) => Object.fromEntries(new FormData(form));

onSubmit("credentials", async (form, kind) => {
  const { email, password } = values(form);
  if (await attempt(async () => { await enter(kind ?? "login", email, password); return true; })) {
    form.reset();
    await open();
  }
});

onSubmit("new-connection", async (form) => {
  const row = await attempt(() => call("POST", "connections", values(form)), "The key works and is stored.");
  if (row) { form.reset(); put("connections", row); }
});

onSubmit("new-instance", async (form) => {
  const { sizing, amount, ...rest } = values(form);
  const body = { ...rest, params: readParams($("params")), sizing: { type: sizing, amount } };
  const row = await attempt(() => call("POST", "strategy-instances", body), "Created. Start it when you are ready.");
  if (row) put("instances", row);
});

onSubmit("new-order", async (form) => {
  const body = values(form);
  if (!body.price) delete body.price;
  const once = { "Idempotency-Key": Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("") };
  const row = await attempt(() => call("POST", "orders", body, once), "Accepted.");
  if (row) put("orders", row);
});

onSubmit("kill", async (form, kind) => {
  const body = { level: "user", reason: form.elements.reason.value };
  if (kind === "lift") await attempt(() => call("DELETE", "kill-switch", body), "Trading is allowed again.");
  else await attempt(() => call("POST", "kill-switch", { ...body, flatten: form.elements.flatten.checked }), "Everything new is stopped.");
  form.reset();
  await showSwitches();
});

async function showSwitches() {
  const held = await call("GET", "kill-switch");
  $("switch-state").textContent = held.length
    ? held.map((one) => `Stopped (${one.level}) since ${clock(one.created_at)}: ${one.reason}`).join(" · ")
    : "Trading is allowed.";
  $("switch-state").className = held.length ? "down" : "";
}

function chooseStrategy() {
  const form = $("new-instance");
  const kind = catalogue.find((one) => one.slug === form.elements.strategy.value);
  if (!kind) return;
  drawParams($("params"), kind.params);
  form.elements.timeframe.replaceChildren(...kind.timeframes.map((name) => new Option(name, name, false, name === "1m")));
}

$("new-instance").elements.strategy.addEventListener("change", chooseStrategy);
$("logout").addEventListener("click", async () => { await leave(); close(); });

async function open() {
  const me = await attempt(() => call("GET", "me"));
  if (!me) { close(); return; }
  $("who").textContent = me.email;
  $("door").hidden = true;
  $("desk").hidden = $("logout").hidden = false;
  touch(...Object.keys(draw));
  stream = new Stream({ onSnapshot: takeSnapshot, onEvent: takeEvent, onPrices: takePrices, onState: showLink, onEnd: close });
  stream.start();
  catalogue = (await attempt(() => call("GET", "strategies"))) ?? [];
  $("new-instance").elements.strategy.replaceChildren(...catalogue.map((one) => new Option(one.title, one.slug)));
  chooseStrategy();
  await attempt(showSwitches);
}

function close() {
  stream?.stop();
  stream = null;
  forget();
  for (const list of Object.values(lists)) list.clear();
  prices.clear();
  $("who").textContent = "";
  $("link").textContent = "not connected";
  $("link").className = "pill";
  $("desk").hidden = $("logout").hidden = true;
  $("door").hidden = false;
}

// Prices grow stale by themselves, without any news; the strategies' figures come with snapshots only.
setInterval(() => { if (stream) touch("prices"); }, 2000);
setInterval(() => { stream?.askForSnapshot(); }, 60_000);

if (localStorage.getItem("des.refresh")) open();
