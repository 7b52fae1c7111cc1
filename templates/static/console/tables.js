// Tables that change under the reader's eyes: rows and buttons that stay the same stay the same elements, so that focus,
// selection and scrolling survive. Everything from outside becomes text.

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * A table in ``host``. Columns: {title, kind?, text(row), small?(row), tone?(row), hint?(row)} or, for the last one,
 * {title, actions(row)} with actions [{label, name, run, danger?}]: ``name`` says what it is for without its row.
 * ``kind``: name (the row's heading), number, time, brief (is never wrapped), tag, whole.
 */
export class Table {
  constructor(host, { caption, columns, key, empty }) {
    Object.assign(this, { host, columns, key, empty });
    this.shown = new Map();
    this.body = element("tbody", { role: "rowgroup" });
    const head = columns.map(({ title, kind, actions }) =>
      element("th", { scope: "col", role: "columnheader", className: kind === "number" ? "number" : "" },
        actions ? element("span", { className: "only-read", textContent: title }) : title));
    // Said in full, since a phone shows the rows as cards and would drop what a table is.
    this.table = element("table", { role: "table", className: "rows" },
      element("caption", { className: "only-read", textContent: caption }),
      element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...head)), this.body);
  }

  draw(rows) {
    if (!rows.length) { this.drawEmpty(); return; }
    if (this.host.firstChild !== this.table) this.host.replaceChildren(this.table);
    const old = this.shown;
    this.shown = new Map();
    let place = this.body.firstChild;
    for (const row of rows) {
      const key = this.key(row);
      const line = old.get(key) ?? this.make();
      old.delete(key);
      this.shown.set(key, line);
      this.update(line, row);
      if (line.element === place) place = place.nextSibling;
      else this.body.insertBefore(line.element, place);
    }
    for (const line of old.values()) line.element.remove();
  }

  drawEmpty() {
    this.shown.clear();
    this.body.replaceChildren();
    const { text, button } = this.empty();
    const signature = `${text} ${button?.label ?? ""}`;
    if (this.host.dataset.empty === signature && this.host.firstChild?.classList?.contains("hollow")) return;
    this.host.dataset.empty = signature;
    const hollow = element("div", { className: "hollow" }, element("p", { textContent: text }));
    if (button) hollow.append(element("button", { type: "button", className: "small quiet", textContent: button.label, onclick: button.run }));
    this.host.replaceChildren(hollow);
  }

  make() {
    const cells = this.columns.map(({ title, kind, actions }) => {
      const classes = [kind === "tag" ? "" : kind ?? "", actions ? "actions" : ""].filter(Boolean).join(" ");
      const cell = element("td", { role: "cell", className: classes });
      cell.dataset.title = title;
      return { cell, main: cell.appendChild(element(kind === "tag" ? "span" : actions ? "div" : "span")), small: null, offered: "" };
    });
    return { cells, element: element("tr", { role: "row" }, ...cells.map(({ cell }) => cell)) };
  }

  update(line, row) {
    this.columns.forEach((column, index) => {
      const part = line.cells[index];
      if (column.actions) this.offer(part, column.actions(row));
      else this.write(part, column, row);
    });
  }

  write(part, column, row) {
    const text = String(column.text(row) ?? "");
    setText(part.main, text);
    const tone = column.tone?.(row) ?? "";
    const look = column.kind === "tag" ? `tag ${tone}` : tone;
    if (part.main.className !== look) part.main.className = look;
    const hint = column.hint?.(row) ?? "";
    if (part.cell.title !== hint) part.cell.title = hint;
    const small = column.small?.(row) ?? "";
    if (small && !part.small) part.small = part.cell.appendChild(element("small"));
    if (part.small) setText(part.small, small);
    part.cell.classList.toggle("blank", !text && !small);
  }

  offer(part, actions) {
    const offered = actions.map(({ label, name, danger, off }) => `${label}|${name}|${danger}|${off}`).join("\n");
    part.actions = actions;
    if (part.offered === offered) return;
    const focused = [...part.main.children].indexOf(document.activeElement);
    part.offered = offered;
    part.main.className = "row";
    part.main.replaceChildren(...actions.map(({ label, name, danger, off }, index) => element("button", {
      type: "button", className: `small ${danger ? "danger" : "quiet"}`, textContent: label, "aria-label": `${label}: ${name}`,
      disabled: Boolean(off), onclick: (event) => part.actions[index]?.run(event.currentTarget),
    })));
    part.cell.classList.toggle("blank", !actions.length);
    if (focused >= 0) (part.main.children[Math.min(focused, part.main.children.length - 1)] ?? this.host).focus();
  }
}
