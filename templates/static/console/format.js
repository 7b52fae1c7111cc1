// Amounts and times as people read them. Amounts come as plain decimals in text and stay text: nothing is rounded
// unless the digits are said, and nothing that is ordered is computed from these.

const MINUS = "−";

/** "1234567.8900" → "1,234,567.89"; with digits, rounded and filled to as many. Empty for null. */
export function amount(text, digits = null) {
  if (text === null || text === undefined || text === "") return "–";
  const exact = digits === null ? String(text) : fixed(text, digits);
  const [, sign, whole, , part = ""] = /^(-?)(\d+)(\.(\d+))?$/.exec(exact) ?? [];
  if (whole === undefined) return String(text);
  const kept = digits === null ? part.replace(/0+$/, "") : part;
  const negative = sign && /[1-9]/.test(whole + kept);
  return `${negative ? MINUS : ""}${whole.replace(/\B(?=(\d{3})+$)/g, ",")}${kept ? `.${kept}` : ""}`;
}

/** An average price with the digits that matter for its size: an average has no end of them. */
export function average(text) {
  if (text === null || text === undefined || text === "") return "–";
  const size = Math.abs(Number(text));
  return amount(fixed(text, size >= 1000 ? 2 : size >= 1 ? 4 : 8));
}

const fixed = (value, digits) => Number(value).toFixed(digits);

/** With its sign always there: "+1.50", "−2.00", "0.00". */
export function signed(value, digits = null) {
  const text = amount(typeof value === "number" ? fixed(value, digits ?? 2) : value, digits);
  return Number(value) > 0 && /[1-9]/.test(text) ? `+${text}` : text;
}

/** "good", "bad" or "", for colour beside the sign; what is shown as zero has none. */
export function tone(value, digits = 12) {
  const shown = Number(fixed(value ?? 0, digits));
  return shown > 0 ? "good" : shown < 0 ? "bad" : "";
}

/** Money digits that suit the asset: two for the usual quotes, none for won, more for what is worth much. */
export function moneyDigits(asset) {
  if (["KRW", "JPY"].includes(asset)) return 0;
  return ["BTC", "ETH", "BNB"].includes(asset) ? 6 : 2;
}

export const quoteOf = (symbol) => symbol.split("/")[1]?.split(":")[0] ?? "";

/** Digits behind the point that a price is quoted with. */
export const decimals = (text) => (String(text ?? "").split(".")[1] ?? "").replace(/0+$/, "").length;

const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

/** Today's as a time, older ones with their day. */
export function clock(iso) {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return "–";
  return new Date().toDateString() === at.toDateString() ? time.format(at) : `${day.format(at)} ${time.format(at)}`;
}

export const moment = (iso) => full.format(new Date(iso));

/** "4 s", "3 min", "2 h", "5 d". */
export function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

/** "partially_filled" → "partially filled". */
export const words = (name) => String(name ?? "").replaceAll("_", " ");
