// Lists whose elements stay as long as what they show: focus, selection and scrolling are not lost when numbers change.

const elements = new WeakMap(); // of each parent: key -> element

/** keep has parent hold one element for each item, in their order. make makes one, and update writes it anew. Elements of items that are gone are removed. */
export function keep(parent, items, key, make, update) {
  const old = elements.get(parent) ?? new Map();
  const now = new Map(items.map((item) => [key(item), old.get(key(item)) ?? make(item)]));
  for (const [name, element] of old) if (!now.has(name)) element.remove();
  items.forEach((item, i) => {
    const element = now.get(key(item));
    if (parent.children[i] !== element) parent.insertBefore(element, parent.children[i] ?? null);
    update(element, item);
  });
  elements.set(parent, now);
}

/** mark sets an attribute only where it changed. */
export function mark(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}
