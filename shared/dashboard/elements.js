// Makes elements, and updates the page. Values become text and attributes, never HTML.

const absent = (child) => child === null || child === undefined || child === false;

/**
 * An element. Attributes and children that are null, undefined or false are left out; strings become text.
 * `grow` sets flex-grow through the CSSOM, since a strict Content-Security-Policy forbids style attributes.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (absent(value)) continue;
    if (name === "grow") element.style.flexGrow = String(value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => !absent(child)));
  return element;
}

/**
 * Give *place* these children, and keep its present nodes where possible: so focus, selection and scrolling are kept.
 * Nodes with an id are matched by it; the others by their position.
 */
export function show(place, ...wanted) {
  const nodes = wanted.flat().filter((node) => !absent(node));
  const ids = new Set(nodes.map((node) => node.id));
  for (const old of [...place.children]) if (old.id && !ids.has(old.id)) old.remove();
  let old = place.firstChild;
  for (const node of nodes) {
    if (old && old.nodeName === node.nodeName && (old.id ?? "") === (node.id ?? "")) {
      const kept = old;
      old = old.nextSibling;
      update(kept, node);
    } else {
      place.insertBefore(node, old);
    }
  }
  while (old) {
    const gone = old;
    old = old.nextSibling;
    gone.remove();
  }
}

function update(old, node) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== node.data) old.data = node.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (name !== "style" && !node.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of node.attributes) {
    if (name !== "style" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (old.style.cssText !== node.style.cssText) old.style.cssText = node.style.cssText;
  show(old, ...node.childNodes);
}
