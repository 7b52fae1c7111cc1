// What the page knows: rows by list, bounded, and who draws them. Drawing happens at most once a frame, only for what
// changed, and not at all while nobody looks.

export const OPEN = new Set(["new", "waiting", "pending", "submitted", "partially_filled", "unknown"]);
const KEPT = { trades: 200, closed: 100, prices: 500 };
const NOT_ROWS = new Set(["equity"]);

const idOf = (row) => row.id;
const keys = {
  positions: (row) => `${row.connection} ${row.symbol} ${row.side}`,
  balances: (row) => `${row.connection} ${row.asset}`,
  headroom: (row) => `${row.level} ${row.connection ?? ""} ${row.strategy_instance ?? ""} ${row.rule} ${row.symbol ?? ""} ${row.unit}`,
  prices: (row) => `${row.feed} ${row.symbol}`,
};

export const lists = Object.fromEntries(
  ["orders", "trades", "positions", "balances", "instances", "connections", "kill_switches", "headroom", "prices"].map((name) => [name, new Map()]),
);
/** Whether the first snapshot is there. */
export let loaded = false;

const drawers = new Map();
const dirty = new Set();
let frame = 0;

/** Calls draw in a frame after one of these lists changed. */
export function onChange(names, draw) {
  for (const name of names) drawers.set(name, [...(drawers.get(name) ?? []), draw]);
}

export function touch(...names) {
  for (const name of names) dirty.add(name);
  if (!frame && !document.hidden) frame = requestAnimationFrame(redraw);
}

function redraw() {
  frame = 0;
  if (document.hidden) return;
  const due = new Set([...dirty].flatMap((name) => drawers.get(name) ?? []));
  dirty.clear();
  // One part that can't be drawn leaves the others alone.
  for (const draw of due) try { draw(); } catch (error) { reportError(error); }
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) { cancelAnimationFrame(frame); frame = 0; } else if (dirty.size) touch();
});

/** A new or changed row; what it leaves out stays. An older one than is known changes nothing. Returns what was known. */
export function put(list, row) {
  const key = (keys[list] ?? idOf)(row);
  const known = lists[list].get(key);
  if (known?.updated_at && row.updated_at && Date.parse(known.updated_at) > Date.parse(row.updated_at)) return known;
  lists[list].set(key, { ...known, ...row });
  trim(list);
  touch(list);
  return known;
}

export function drop(list, id) {
  if (lists[list].delete(id)) touch(list);
}

/** All rows of a list at once. */
export function replace(list, rows) {
  lists[list].clear();
  for (const row of rows) lists[list].set((keys[list] ?? idOf)(row), row);
  touch(list);
}

export function takeSnapshot(data) {
  loaded = true;
  for (const [list, rows] of Object.entries(data)) {
    if (!lists[list] || NOT_ROWS.has(list)) continue;
    // Newest last, as news come.
    replace(list, [...rows].reverse());
  }
  touch(...Object.keys(lists));
}

function trim(list) {
  if (list === "trades") forgetOldest(lists.trades, KEPT.trades, () => true);
  if (list === "prices") forgetOldest(lists.prices, KEPT.prices, () => true);
  if (list === "orders") forgetOldest(lists.orders, KEPT.closed, (row) => !OPEN.has(row.status));
  if (list === "kill_switches") for (const row of lists.kill_switches.values()) if (row.lifted_at) lists.kill_switches.delete(row.id);
}

function forgetOldest(rows, most, may) {
  if (rows.size <= most) return;
  let over = -most;
  for (const row of rows.values()) if (may(row)) over += 1;
  for (const [key, row] of rows) {
    if (over <= 0) return;
    if (may(row)) { rows.delete(key); over -= 1; }
  }
}

export const rows = (list) => [...lists[list].values()];
export const newest = (list, field) => rows(list).sort((a, b) => Date.parse(b[field]) - Date.parse(a[field]));

/** The market data feed that a connection trades against. */
export function feedOf(id) {
  const connection = lists.connections.get(id);
  return connection ? `${connection.exchange}:${connection.mode === "paper" ? "live" : connection.mode}` : "";
}

export const priceOf = (connection, symbol) => lists.prices.get(`${feedOf(connection)} ${symbol}`);
export const connectionName = (id) => lists.connections.get(id)?.name ?? "–";
export const instanceName = (id) => (id ? lists.instances.get(id)?.name ?? "strategy" : "by hand");
