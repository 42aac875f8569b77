// Search, filter and sort. Without scripts the first items stand on the page as they are.
const rows = JSON.parse(document.getElementById("data").textContent);
const list = document.getElementById("items");
const more = document.getElementById("more");
const matches = document.getElementById("matches");
const search = document.getElementById("search");
const subset = document.getElementById("subset");
const sort = document.getElementById("sort");
const found = document.getElementById("found");
const STEP = 50;
let chosen = rows;
let shown = 0;

for (const row of rows) {
  row.words = [row.id, row.prompt, ...row.responses.map((r) => r.text)].join("\n").toLowerCase();
  const rewards = row.responses.map((r) => r.reward).filter((r) => r !== null);
  row.reward = rewards.length ? Math.min(...rewards) : null;
}

function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

function number(value) {
  return value === null ? "not finite" : String(Number(value.toPrecision(4)));
}

// A long id may go on in the next line behind its dots, underscores and slashes alone.
function breakable(id) {
  return id.split(/(?<=\w[._\/]+)(?=\w)/).flatMap((part) => [part, element("wbr")]);
}

function textBox(text, beside) {
  const box = element("div", "text", text);
  box.dir = "auto";
  if (beside && text.length > 600) { // scrolls, so that the keyboard has to reach it
    box.classList.add("long");
    box.tabIndex = 0;
  }
  return box;
}

function item(row) {
  const made = element("li", "example");
  const note = element("p", "note");
  note.append("row ", ...breakable(row.id), ...(row.subset ? [", ", ...breakable(row.subset)] : []));
  if (row.margin !== null) {
    note.append(", margin ", element("strong", "", number(row.margin)));
  }
  for (const place of row.findings) {
    const link = element("a", "", `finding ${place}`);
    link.href = `report.html#finding-${place}`;
    note.append(" ", link);
  }
  const sides = element("div", "sides");
  for (const response of row.responses) {
    const side = element("div", "side");
    const label = element("p", "label", `${response.side} `);
    label.append(element("span", "reward", `reward ${number(response.reward)}`));
    side.append(label, textBox(response.text, true));
    sides.append(side);
  }
  made.append(note, textBox(row.prompt), sides);
  if (row.more) {
    made.append(element("p", "note",
      `${row.more} more responses, with rewards between these, are in scores.parquet`));
  }
  return made;
}

function grow() {
  const next = chosen.slice(shown, shown + STEP);
  list.append(...next.map(item));
  shown += next.length;
  more.hidden = shown >= chosen.length;
  matches.textContent = `${chosen.length} of ${rows.length}`;
}

function apply() {
  const words = search.value.trim().toLowerCase();
  const key = sort.value.replace("-", "");
  const sign = sort.value.startsWith("-") ? -1 : 1;
  chosen = rows.filter((row) =>
    (!words || row.words.includes(words)) &&
    (!subset.value || row.subset === subset.value) &&
    (!found.checked || row.findings.length));
  // Rows without the number come last, whichever way.
  chosen.sort((a, b) =>
    (a[key] === null) - (b[key] === null) || sign * (a[key] - b[key]));
  list.replaceChildren();
  shown = 0;
  grow();
}

document.querySelector(".filter").classList.remove("off");
search.addEventListener("input", apply);
for (const control of [subset, sort, found]) control.addEventListener("change", apply);
more.addEventListener("click", () => {
  const first = shown;
  grow();
  // The focus goes on with the new items: the button may be gone, and stands behind them.
  list.children[first].tabIndex = -1;
  list.children[first].focus({ preventScroll: true });
});
apply();
