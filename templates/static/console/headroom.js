// How much of each risk limit is used: the fullest first.

import { amount, moneyDigits, words } from "./format.js";
import { connectionName, instanceName, loaded, onChange, rows } from "./store.js";
import { element, setText } from "./tables.js";

const NEAR = 0.8;
const MOST = 12;
const host = document.getElementById("headroom-bars");
const bars = new Map();

const digits = (unit) => (unit === "orders" ? 0 : moneyDigits(unit));
const whose = (row) => [row.symbol, row.strategy_instance ? instanceName(row.strategy_instance) : connectionName(row.connection)].filter(Boolean).join(" · ");

function make() {
  const [rule, used, small] = [element("span"), element("span", { className: "used" }), element("small")];
  const fill = element("div", { className: "fill" });
  const meter = element("div", { className: "track", role: "meter", "aria-valuemin": "0", "aria-valuemax": "100" }, fill);
  return { rule, used, small, meter, fill, element: element("div", { className: "bar" }, element("p", {}, rule, used), meter, small) };
}

function update(bar, row) {
  const ratio = Math.max(0, Number(row.ratio) || 0);
  const percent = Math.floor(ratio * 100);
  const state = ratio >= 1 ? "▲ limit reached" : ratio >= NEAR ? "▲ near the limit" : "";
  const rule = words(row.rule).replace(/^./, (letter) => letter.toUpperCase());
  setText(bar.rule, rule);
  setText(bar.used, `${amount(row.used, digits(row.unit))} / ${amount(row.limit)} ${row.unit}`);
  setText(bar.small, [whose(row), `${percent} %`, state].filter(Boolean).join(" · "));
  bar.element.dataset.tone = ratio >= 1 ? "bad" : ratio >= NEAR ? "warn" : "";
  bar.fill.style.setProperty("--ratio", String(ratio));
  bar.meter.setAttribute("aria-valuenow", String(Math.min(percent, 100)));
  bar.meter.setAttribute("aria-valuetext", `${percent} %${state ? `, ${state.slice(2)}` : ""}`);
  bar.meter.setAttribute("aria-label", `${rule}, ${whose(row)}`);
}

function draw() {
  if (!loaded) return;
  const shown = rows("headroom").sort((a, b) => Number(b.ratio) - Number(a.ratio)).slice(0, MOST);
  if (!shown.length) {
    bars.clear();
    host.replaceChildren(element("p", { className: "hollow", textContent: "Limits and what is left of them show up once an account trades." }));
    return;
  }
  const wanted = shown.map((row) => {
    const key = `${row.level} ${row.connection} ${row.strategy_instance} ${row.rule} ${row.symbol} ${row.unit}`;
    if (!bars.has(key)) bars.set(key, make());
    update(bars.get(key), row);
    return key;
  });
  for (const key of bars.keys()) if (!wanted.includes(key)) bars.delete(key);
  const elements = wanted.map((key) => bars.get(key).element);
  if (elements.length !== host.children.length || elements.some((one, index) => host.children[index] !== one)) host.replaceChildren(...elements);
}

onChange(["headroom", "connections", "instances"], draw);
