// Elements of HTML and SVG. Styles come from classes and geometry from
// attributes: the page's policy allows no style attribute.

const svgSpace = "http://www.w3.org/2000/svg";

/** @typedef {Node | string | null | undefined | false} Child */

/**
 * An HTML element: html("a", { href: "/" }, "text", child). A property that
 * begins with "on" is a listener, one that is null or false is left out.
 */
export function html(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** An SVG element. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(svgSpace, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((c) => c != null && c !== false));
  return element;
}

/** Puts children in the place of what an element has, but only where they differ. */
export function replace(element, ...children) {
  const holder = element.cloneNode(false);
  holder.append(...children.flat().filter((c) => c != null && c !== false));
  if (!element.isEqualNode(holder)) element.replaceChildren(...holder.childNodes);
}

/** Sets an element's text where it is another, so that nobody is told of what has not changed. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The page's element of an id. */
export function byId(id) {
  return document.getElementById(id);
}
