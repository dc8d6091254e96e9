"use strict";
// Shows the rows of a prediction a page at a time, and collects agreement and corrections.
const all = JSON.parse(document.getElementById("data").textContent);
const [ID, PATH, STATUS, REASON, DECISION, SCORES, UNFAMILIAR, QUALITY, PICTURE, PREDICTED, PART, DOUBT, SIMILAR] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
// A tile is found on its map by its row and column.
const nameOf = (row) => row[PART] || row[PATH];
const collator = new Intl.Collator("en", { numeric: true });
const PER_PAGE = 50;
const byId = (id) => document.getElementById(id);
const SIDES = { positive: all.called, negative: "not " + all.called };
const titleOf = (name) => {
  // A side of the threshold that is no class of its own.
  if (SIDES[name] && !all.classes.includes(name) && all.called !== "positive") return SIDES[name];
  const i = all.classes.indexOf(name);
  return i < 0 ? name.split(all.separator).map((n) => all.titles[all.classes.indexOf(n)] || n).join(", ") : all.titles[i];
};
const judged = new Map();
let shown = [], page = 0;

const make = (tag, text, name) => {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  if (name) node.className = name;
  return node;
};
const certainty = (row) => (row[SCORES].length ? Math.max(...row[SCORES]) : -1);
const isFailed = (row) => row[STATUS] !== "ok";
const wanted = {
  "": () => true,
  check: (row) => isFailed(row) || row[DOUBT],
  unfamiliar: (row) => row[UNFAMILIAR],
  quality: (row) => row[QUALITY],
  failed: isFailed,
  corrected: (row) => judged.has(row[ID]) && judged.get(row[ID]) !== row[PREDICTED],
  open: (row) => !judged.has(row[ID]) && !isFailed(row),
};
const orders = {
  name: (a, b) => collator.compare(nameOf(a), nameOf(b)),
  unsure: (a, b) => certainty(a) - certainty(b),
  sure: (a, b) => certainty(b) - certainty(a),
};

function choose() {
  const find = byId("find").value.toLowerCase(), of = byId("class").value, mark = wanted[byId("mark").value];
  shown = all.rows.filter((row) =>
    nameOf(row).toLowerCase().includes(find) && mark(row) &&
    (!of || row[PREDICTED].split(all.separator).includes(of)));
  // What has no score was not judged: it comes last, whatever the order.
  const order = orders[byId("order").value];
  shown.sort((a, b) => isFailed(a) - isFailed(b) || order(a, b));
  page = 0;
  draw();
}

function picture(row) {
  const cell = make("td");
  if (row[PICTURE]) {
    const link = make("a"), image = make("img");
    link.href = image.src = all.folder + "/" + row[PICTURE];
    link.target = "_blank";
    image.alt = "Picture of " + nameOf(row);
    image.loading = "lazy";
    link.append(image);
    cell.append(link);
  }
  return cell;
}

function alike(row) {
  const list = make("ul", "", "alike");
  for (const [file, title, near] of row[SIMILAR]) {
    const item = make("li"), image = make("img");
    image.src = all.folder + "/" + file;
    image.alt = "Training image, " + title;
    image.loading = "lazy";
    item.append(image, make("span", `${title} ${near.toFixed(2)}`));
    list.append(item);
  }
  return list;
}

function decision(row) {
  const told = row[DECISION] || row[PREDICTED];
  const cell = make("td", told ? titleOf(told) : isFailed(row) || !row[SCORES].length ? "none" : "none of the classes");
  if (row[PREDICTED] && row[DECISION] && row[DECISION] !== row[PREDICTED]) cell.append(make("div", "predicted: " + titleOf(row[PREDICTED]), "note"));
  return cell;
}

function scores(row) {
  const cell = make("td"), order = row[SCORES].map((score, i) => [score, i]).sort((a, b) => b[0] - a[0]);
  for (const [score, i] of order.slice(0, 3)) {
    const line = make("div", "", "score"), bar = make("meter");
    bar.min = 0; bar.max = 1; bar.value = score;
    bar.setAttribute("aria-label", all.titles[i]);
    line.append(bar, make("span", all.titles[i] + " " + score.toFixed(3)));
    cell.append(line);
  }
  if (all.positive.length && row[SCORES].length) {
    const sum = all.positive.reduce((part, i) => part + row[SCORES][i], 0);
    cell.append(make("div", `${all.called} ${sum.toFixed(3)}, threshold ${all.threshold.toPrecision(3)}`, "note"));
  }
  return cell;
}

function marks(row) {
  const cell = make("td");
  if (isFailed(row)) cell.append(make("div", "✗ " + row[STATUS] + ": " + row[REASON], "mark"));
  if (row[DOUBT]) cell.append(make("div", "! " + row[DOUBT], "mark"));
  return cell;
}

function judgement(row) {
  const cell = make("td");
  if (isFailed(row) && !row[PICTURE]) return cell;
  const select = make("select");
  select.setAttribute("aria-label", "Your judgement of " + nameOf(row));
  select.multiple = all.many;
  if (!all.many) {
    select.append(new Option("not judged", ""));
  }
  all.classes.forEach((name, i) => {
    const words = !all.many && name === row[PREDICTED] ? "agree: " + all.titles[i] : all.titles[i];
    select.append(new Option(words, name));
  });
  const known = judged.get(row[ID]);
  if (known !== undefined) for (const option of select.options) option.selected = known.split(all.many ? all.separator : "\u0000").includes(option.value);
  select.addEventListener("change", () => {
    const value = [...select.selectedOptions].map((option) => option.value).join(all.separator);
    if (value || all.many) judged.set(row[ID], value); else judged.delete(row[ID]);
    tell();
  });
  cell.append(select);
  return cell;
}

const heads = [...document.querySelectorAll("#table thead th")].map((head) => head.textContent);

function draw() {
  const body = byId("table").tBodies[0], first = page * PER_PAGE, rows = shown.slice(first, first + PER_PAGE);
  body.replaceChildren(...rows.map((row) => {
    const line = make("tr"), file = make("th", nameOf(row));
    file.scope = "row";
    if (row[SIMILAR].length) file.append(make("div", "most similar in training", "note"), alike(row));
    line.append(picture(row), file, decision(row), scores(row), marks(row), judgement(row));
    // On a phone a row is a card, and each cell says what it is.
    [...line.children].forEach((cell, i) => { cell.dataset.label = heads[i]; });
    return line;
  }));
  const last = Math.min(first + PER_PAGE, shown.length);
  byId("where").textContent = shown.length ? `${first + 1} to ${last} of ${shown.length}` : "No input fits";
  byId("before").disabled = page === 0;
  byId("after").disabled = last >= shown.length;
}

function tell() {
  const decided = new Map(all.rows.map((row) => [row[ID], row[PREDICTED]]));
  const wrong = [...judged].filter(([id, label]) => decided.get(id) !== label).length;
  byId("judged").textContent = judged.size ? `${judged.size} judged, ${wrong} corrected.` : "Nothing judged yet.";
  byId("save").disabled = !judged.size;
}

function save() {
  const cell = (text) => {
    // A spreadsheet would run a cell that begins with one of these.
    const safe = /^[=+\-@\t\r]/.test(text) ? "'" + text : text;
    return /[",\n\r]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
  };
  const lines = ["image_id,path,label,predicted"];
  for (const row of all.rows) if (judged.has(row[ID])) lines.push([row[ID], row[PATH], judged.get(row[ID]), row[PREDICTED]].map(cell).join(","));
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
  link.download = "corrections.csv";
  link.click();
}

const counts = new Map();
for (const row of all.rows) for (const name of row[PREDICTED] ? row[PREDICTED].split(all.separator) : []) counts.set(name, (counts.get(name) || 0) + 1);
for (const name of all.classes) byId("class").append(new Option(`${titleOf(name)} (${counts.get(name) || 0})`, name));
const n = (test) => all.rows.filter(test).length;
// Read, but of no use for a decision: not gradable, of another kind.
const mute = n((r) => !isFailed(r) && !r[PREDICTED] && !r[SCORES].length);
byId("counts").textContent = `${all.rows.length} inputs: ` + "predicted " + all.classes.map((name) => `${titleOf(name)}: ${counts.get(name) || 0}`).join(", ") +
  (mute ? `, without a class: ${mute}` : "") + `. Unfamiliar: ${n((r) => r[UNFAMILIAR])}. Poor quality: ${n((r) => r[QUALITY])}. Failed or skipped: ${n(isFailed)}.`;
for (const id of ["class", "mark", "order"]) byId(id).addEventListener("change", choose);
byId("find").addEventListener("input", choose);
byId("controls").addEventListener("submit", (event) => event.preventDefault());
byId("before").addEventListener("click", () => { page -= 1; draw(); });
byId("after").addEventListener("click", () => { page += 1; draw(); });
byId("save").addEventListener("click", save);
choose();
