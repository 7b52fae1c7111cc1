// What the server's messages look like. One that doesn't is dropped as a whole, as if it had been lost on the way: a page
// that believes half a message shows wrong numbers and calls them live.

const PLAIN = /^-?\d+(\.\d+)?$/;
const isText = (value) => typeof value === "string";
const isAmount = (value) => isText(value) && PLAIN.test(value);
const isNumber = (value) => Number.isFinite(value);
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const orNull = (fits) => (value) => value === null || value === undefined || fits(value);

/** A row: these fields are texts, these amounts, these amounts or null. */
const row = (texts, amounts = [], perhaps = []) => (value) => isObject(value)
  && texts.every((name) => isText(value[name])) && amounts.every((name) => isAmount(value[name]))
  && perhaps.every((name) => orNull(isAmount)(value[name]));

const ROWS = {
  orders: row(["id", "connection", "symbol", "side", "type", "status", "created_at", "updated_at"], ["quantity", "filled_quantity"], ["price", "stop_price", "average_price"]),
  trades: row(["id", "connection", "symbol", "side", "executed_at"], ["quantity", "price"], ["realized_pnl"]),
  positions: row(["connection", "symbol", "side"], ["quantity", "average_price", "realized_pnl"], ["mark_price", "unrealized_pnl"]),
  balances: row(["connection", "asset"], ["total", "available", "reserved"]),
  instances: row(["id", "name", "connection", "symbol", "status"]),
  connections: row(["id", "name", "exchange", "mode", "status"]),
  kill_switches: row(["id", "level", "reason"]),
  headroom: row(["level", "rule", "unit"], ["used", "limit", "ratio"]),
  prices: (value) => row(["feed", "symbol"], [], ["bid", "ask", "last"])(value) && orNull(isNumber)(value.seen_ms),
};
/** The lists whose rows come one by one, by the kind of their event. */
export const LIST_OF = { order: "orders", trade: "trades", position: "positions", balance: "balances", kill: "kill_switches", connection: "connections" };

const all = (fits) => (value) => Array.isArray(value) && value.every(fits);
const isCandle = (value) => isObject(value) && isText(value.connection) && isText(value.symbol) && isText(value.timeframe)
  && Array.isArray(value.candle) && value.candle.length === 6 && isNumber(value.candle[0]) && value.candle.slice(1).every(isAmount);
const EVENTS = {
  ...Object.fromEntries(Object.entries(LIST_OF).map(([kind, list]) => [kind, ROWS[list]])),
  // In part.
  instance: row(["id"]),
  headroom: all(ROWS.headroom),
  candle: isCandle,
};
const anything = () => true;
const KINDS = {
  snapshot: ({ data }) => isObject(data) && Object.entries(ROWS).every(([list, fits]) => data[list] === undefined || all(fits)(data[list])),
  prices: ({ data }) => all(ROWS.prices)(data),
  event: ({ kind, data }) => (Object.hasOwn(EVENTS, kind) ? EVENTS[kind] : anything)(data),
};

/** The message in a text, or null when it isn't one. */
export function messageIn(text) {
  let message;
  try { message = JSON.parse(text); } catch { return null; }
  if (!isObject(message) || !isNumber(message.sequence) || !isNumber(message.server_ms) || !isText(message.type)) return null;
  return (Object.hasOwn(KINDS, message.type) ? KINDS[message.type] : anything)(message) ? message : null;
}
