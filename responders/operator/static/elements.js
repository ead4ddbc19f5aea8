// Elements that are kept from look to look, so that focus stays and only what changed is drawn anew.
export const byId = name => document.getElementById(name);

/** Make an element. Properties go onto it; a class as `className`. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Write a text where it differs. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Show or hide. */
export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

/** A cell that is a text. */
export const text = of => (cell, item) => write(cell, of(item));

/** A cell with a badge: `of` gives its text and its kind, good, held, bad or plain. */
export const badge = of => (cell, item) => {
  const [said, kind] = of(item);
  if (!cell.firstElementChild) cell.append(element("span"));
  cell.firstElementChild.className = `badge ${kind}`;
  write(cell.firstElementChild, said);
};

/**
 * Keep the rows of a table.
 * @param name the table is `<name>-table`, what is said without rows `<name>-none`.
 * @param key gives the key of an item.
 * @param cells draw the cells of an item, the first being the row's header.
 */
export function rowsOf(name, key, cells) {
  const table = byId(`${name}-table`), none = byId(`${name}-none`);
  const body = table?.tBodies[0], known = new Map();
  const labels = table ? [...table.tHead.rows[0].cells].map(cell => cell.textContent) : [];
  const newRow = () => {
    const row = element("tr");
    cells.forEach((_, place) => {
      const cell = element(place ? "td" : "th");
      if (place) cell.dataset.label = labels[place];
      else cell.scope = "row";
      row.append(cell);
    });
    return row;
  };
  return items => {
    if (!table) return;
    const present = new Set(items.map(key));
    for (const [old, row] of known) if (!present.has(old)) { row.remove(); known.delete(old); }
    items.forEach((item, place) => {
      const own = key(item);
      if (!known.has(own)) known.set(own, newRow());
      const row = known.get(own);
      if (body.rows[place] !== row) body.insertBefore(row, body.rows[place] ?? null);
      cells.forEach((draw, column) => draw(row.cells[column], item));
    });
    show(table, items.length > 0);
    show(none, items.length === 0);
  };
}
