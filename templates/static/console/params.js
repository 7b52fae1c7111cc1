// A form for a strategy's parameters, from its JSON Schema.

import { element } from "./tables.js";

function resolve(schema, property) {
  const found = property.$ref ? schema.$defs[property.$ref.split("/").pop()] : property;
  const kinds = found.anyOf ?? [found];
  return { ...found, ...kinds.find((kind) => kind.type !== "null"), ...property };
}

function choice(property) {
  const made = element("select");
  for (const value of property.enum) made.append(new Option(value, value, false, value === property.default));
  return made;
}

function input(property) {
  const made = element("input");
  if (property.type === "boolean") {
    made.type = "checkbox";
    made.checked = Boolean(property.default);
    return made;
  }
  if (property.type === "integer" || property.type === "number") {
    made.type = "number";
    made.step = property.type === "integer" ? "1" : "any";
    if (property.minimum !== undefined) made.min = property.minimum;
    if (property.maximum !== undefined) made.max = property.maximum;
  }
  if (property.default !== undefined && property.default !== null) made.value = property.default;
  return made;
}

export function drawParams(fieldset, schema) {
  fieldset.replaceChildren();
  for (const [name, raw] of Object.entries(schema.properties ?? {})) {
    const property = resolve(schema, raw);
    const label = element("label", `${property.title ?? name} `);
    const field = property.enum ? choice(property) : input(property);
    field.dataset.name = name;
    field.dataset.kind = property.type ?? "string";
    if (property.description) label.title = property.description;
    label.append(field);
    fieldset.append(label);
  }
}

export function readParams(fieldset) {
  const params = {};
  for (const field of fieldset.querySelectorAll("[data-name]")) {
    const { name, kind } = field.dataset;
    if (kind === "boolean") params[name] = field.checked;
    else if (field.value !== "") params[name] = kind === "integer" || kind === "number" ? Number(field.value) : field.value;
  }
  return params;
}
