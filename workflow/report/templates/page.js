"use strict";
// Everything is readable without this: it sorts and searches tables, and enlarges figures.

function sortBy(table, column, button) {
  const head = button.closest("th");
  const descending = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = table.tBodies[0];
  const key = (row) => row.cells[column].dataset.sort;
  const numeric = head.classList.contains("number");
  const rows = Array.from(body.rows).sort((a, b) => {
    const first = key(a), second = key(b);
    // What is not known stays at the end either way.
    if (first === undefined || second === undefined) {
      return (first === undefined) - (second === undefined);
    }
    const order = numeric ? Number(first) - Number(second) : first.localeCompare(second, "en", {numeric: true});
    return descending ? -order : order;
  });
  body.append(...rows);
}

for (const table of document.querySelectorAll("table")) {
  Array.from(table.tHead.rows[0].cells).forEach((cell, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = cell.textContent;
    button.addEventListener("click", () => sortBy(table, column, button));
    cell.replaceChildren(button);
  });
}

for (const holder of document.querySelectorAll(".searchable")) {
  const rows = Array.from(holder.querySelector("tbody").rows);
  const label = document.createElement("label");
  label.className = "search";
  const input = document.createElement("input");
  input.type = "search";
  const found = document.createElement("output");
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      shown += row.hidden ? 0 : 1;
    }
    found.textContent = wanted ? `${shown} of ${rows.length} rows` : "";
  });
  label.append("Search", input, found);
  holder.prepend(label);
}

const dialog = document.createElement("dialog");
if (typeof dialog.showModal === "function") {
  const bar = document.createElement("div");
  bar.className = "bar";
  const caption = document.createElement("p");
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "Close";
  const image = document.createElement("img");
  image.alt = "";
  bar.append(caption, close);
  dialog.append(bar, image);
  dialog.setAttribute("aria-label", "Enlarged figure");
  close.addEventListener("click", () => dialog.close());
  image.addEventListener("click", () => dialog.classList.toggle("full"));
  for (const link of document.querySelectorAll("a.zoom")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const own = link.querySelector("img");
      if (!dialog.isConnected) document.body.append(dialog);
      image.src = own.src;
      image.alt = own.alt;
      caption.textContent = own.alt;
      dialog.classList.remove("full");
      dialog.showModal();
    });
  }
}

// A link leads into what is closed, and paper shows it all.
function openAround(anchor) {
  for (let node = document.getElementById(anchor); node; node = node.parentElement) {
    if (node.tagName === "DETAILS") node.open = true;
  }
}
window.addEventListener("hashchange", () => openAround(location.hash.slice(1)));
let opened = [];
window.addEventListener("beforeprint", () => {
  opened = Array.from(document.querySelectorAll("details:not([open])"));
  for (const fold of opened) fold.open = true;
});
window.addEventListener("afterprint", () => {
  for (const fold of opened) fold.open = false;
});
