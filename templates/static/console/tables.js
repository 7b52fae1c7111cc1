// Tables from rows. Everything from outside becomes text, never markup.

export function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

export function button(text, act, className = "quiet") {
  const made = element("button", text, `small ${className}`);
  made.type = "button";
  made.addEventListener("click", async () => {
    made.disabled = true;
    try { await act(); } finally { made.disabled = false; }
  });
  return made;
}

// A column: { title, value(row) → text or element, number?, tone?(row) → class }.
export function fill(table, columns, rows, empty) {
  const head = element("thead");
  const titles = element("tr");
  for (const column of columns) titles.append(element("th", column.title, column.number ? "number" : ""));
  head.append(titles);
  const body = element("tbody");
  for (const row of rows) {
    const line = element("tr");
    for (const column of columns) {
      const cell = element("td", null, [column.number ? "number" : "", column.tone?.(row) ?? ""].join(" ").trim());
      const value = column.value(row);
      if (value instanceof Node) cell.append(value);
      else cell.textContent = value ?? "";
      line.append(cell);
    }
    body.append(line);
  }
  if (!rows.length) {
    const line = element("tr");
    const cell = element("td", empty, "empty");
    cell.colSpan = columns.length;
    line.append(cell);
    body.append(line);
  }
  table.replaceChildren(head, body);
}

export const sign = (amount) => (!amount || amount === "0" ? "" : amount.startsWith("-") ? "down" : "up");
export const clock = (iso) => (iso ? new Date(iso).toLocaleTimeString() : "");
