"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const filters = document.getElementById("filters"), plotted = document.getElementById("plotted");
const matrix = document.getElementById("matrix");
const SVG = "http://www.w3.org/2000/svg";

/** An element; every child that is a text stays a text. */
function make(tag, attributes, ...children) {
  const drawn = ["svg", "path", "text"].includes(tag);
  const made = drawn ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// The record: a cell is its row, its question and its answer.

const listed = [...document.querySelectorAll("[data-known]")];  // the known differences, in the record's order
const nameOf = known => typeof known === "string" ? known : listed[known].querySelector("strong").textContent;
const nothing = { ulp: "0", readings: [], judged: 0, where: "", numbers: [], known: [], at_zero: "", message: "" };
const answers = data.answers.map(given => {
  const answer = { ...nothing, ...given, name: data.verdicts[given.verdict] };
  const said = [answer.name, answer.message, answer.at_zero, answer.where, ...answer.known.map(nameOf)];
  return { ...answer, words: said.join(" ").toLowerCase() };
});
const columnOf = new Map(data.columns.map((column, place) => [column.join("/"), place]));
const questions = data.questions.map(axes => {
  const [operator, dtype, placement, shape, slope, what] = axes;
  const column = columnOf.get(`${dtype}/${placement}`);
  return { operator, dtype, placement, shape, slope, what, axes, column, words: axes.join(" ").toLowerCase() };
});
const rows = data.rows.map(([runtime, variant, pairs, curves]) => {
  const row = { runtime, variant, curves, words: `${runtime} ${variant}`.toLowerCase(), cells: [] };
  for (let i = 0; i < pairs.length; i += 2) row.cells.push({ row, question: questions[pairs[i]], answer: answers[pairs[i + 1]] });
  return row;
});

// The state of the page: filters, what is plotted, and which square is open. The hash keeps what is not at its start.

let open = "";
const controls = [...filters.elements, ...plotted.elements].filter(control => control.name);
const named = new Map(controls.map(control => [control.name, control]));
const setting = name => named.get(name).value;
const start = control => control.options?.[0]?.value ?? "";
const offer = (name, values) => named.get(name).append(...[...new Set(values)].map(value => make("option", { value }, value)));

function readHash() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const control of controls) {
    control.value = given.get(control.name) ?? start(control);
    if (control.selectedIndex === -1) control.value = start(control);
  }
  open = given.get("open") ?? "";
}

function writeHash() {
  const kept = controls.filter(control => control.value !== start(control)).map(control => [control.name, control.value]);
  history.replaceState(null, "", `#${new URLSearchParams(open ? [...kept, ["open", open]] : kept)}`);
}

function passing(row) {
  const [runtime, dtype, verdict, slope] = ["runtime", "dtype", "verdict", "slope"].map(setting);
  if (runtime && row.runtime !== runtime) return [];
  const words = setting("text").toLowerCase().split(/\s+/).filter(word => !row.words.includes(word));
  return row.cells.filter(({ question, answer }) =>
    (!dtype || question.dtype === dtype) && (!slope || question.slope === slope) && (!verdict || answer.name === verdict) &&
    words.every(word => question.words.includes(word) || answer.words.includes(word)));
}

// The matrix: rows and columns in which something passes the filters.

function drawMatrix() {
  const shown = rows.map(row => [row, passing(row)]).filter(([, cells]) => cells.length);
  const used = new Set(shown.flatMap(([, cells]) => cells.map(cell => cell.question.column)));
  const columns = [...data.columns.keys()].filter(place => used.has(place));
  const count = of => of.reduce((sum, cells) => sum + cells.length, 0);
  filters.querySelector("output").textContent = `${count(shown.map(([, cells]) => cells))} of ${count(rows.map(row => row.cells))} cells`;
  if (!shown.length) return matrix.replaceChildren(make("p", { class: "soft" }, rows.length ? "No cell passes these filters." : "Nothing was asked."));

  const above = make("tr", {}, make("td", {})), below = make("tr", {}, make("td", {}));
  for (const place of columns) {
    const [dtype, placement] = data.columns[place], last = above.lastChild;
    if (last.textContent === dtype) last.colSpan += 1;
    else above.append(make("th", { scope: "colgroup" }, dtype));
    below.append(make("th", { scope: "col" }, placement));
  }
  const body = make("tbody", {});
  let before = "";
  for (const [row, cells] of shown) {
    const line = make("tr", {}, make("th", { scope: "row" }, row.runtime, " ", make("span", { class: "soft" }, row.variant)));
    if (row.runtime !== before) line.className = "first";
    before = row.runtime;
    const squares = columns.map(() => []);
    for (const cell of cells) squares[columns.indexOf(cell.question.column)].push(cell);
    line.append(...squares.map((below, i) => square(row, columns[i], below)));
    body.append(line);
  }
  matrix.replaceChildren(make("table", {}, make("thead", {}, above, below), body));
  const opened = [...matrix.querySelectorAll("button")].find(button => button.dataset.name === open);
  if (opened) unfold(opened);
}

function square(row, column, cells) {
  if (!cells.length) return make("td", {});
  const name = [row.runtime, row.variant, ...data.columns[column]].join("/");
  const tallied = tally(cells), place = tallied.findLastIndex(count => count), worst = data.verdicts[place];
  const label = `${name.split("/").join(", ")}: ${counts(cells)}`;
  const button = make("button", { type: "button", class: worst, title: label, "aria-label": label, "aria-expanded": "false", "data-name": name },
    make("b", {}, data.marks[worst]), ` ${tallied[place]}`);
  button.cells = cells;
  return make("td", {}, button);
}

/** How many cells have each verdict, and the same in words, the worst first. */
function tally(cells) {
  const counts = data.verdicts.map(() => 0);
  for (const { answer } of cells) counts[answer.verdict] += 1;
  return counts;
}

const counts = cells => tally(cells).flatMap((count, place) => count ? `${count} ${data.verdicts[place]}` : []).reverse().join(", ");

// What a square opens to.

function fold() {
  matrix.querySelector("[aria-expanded=true]")?.setAttribute("aria-expanded", "false");
  matrix.querySelector("tr.below")?.remove();
  open = "";
}

function unfold(button) {
  fold();
  open = button.dataset.name;
  button.setAttribute("aria-expanded", "true");
  const { cells } = button, exact = cells.filter(cell => cell.answer.name === "exact");
  const differing = cells.filter(cell => cell.answer.name !== "exact").sort((a, b) => b.answer.verdict - a.answer.verdict);
  const { row, question } = cells[0];
  const title = make("h3", {}, `${row.runtime}, ${row.variant}, ${question.dtype}, ${question.placement}: ${counts(cells)}`,
    make("button", { type: "button", class: "close" }, "close"));
  const inside = make("div", { class: "opened" }, title, ...differing.map(entry));
  if (exact.length) inside.append(folded(make("summary", { class: "group" }, `▸ ${exact.length} exact`), () => exact.map(entry)));
  const line = button.closest("tr");
  line.after(make("tr", { class: "below" }, make("td", { colspan: line.cells.length }, inside)));
}

/** Details whose content is made when they are opened for the first time. */
function folded(summary, content) {
  const made = make("details", {}, summary);
  made.addEventListener("toggle", () => made.append(...content()), { once: true });
  return made;
}

function entry(cell) {
  const { question, answer } = cell;
  const said = answer.known.map(nameOf).join(", ") || answer.message || answer.where || answer.readings.join(" or ");
  const ulp = answer.ulp === "0" ? "" : `${answer.ulp} ulp · `;
  return folded(make("summary", {}, tag(answer.name), ...["operator", "shape", "slope", "what"].map(axis =>
    make("span", {}, axis === "slope" ? `slope ${question.slope}` : question[axis])), make("span", { class: "soft line" }, ulp, said)),
    () => [make("div", { class: "body" }, ...facts(cell))]);
}

const tag = verdict => make("span", { class: `tag ${verdict}` }, make("b", {}, data.marks[verdict]), ` ${verdict}`);

function facts(cell) {
  const { row, question, answer } = cell, pairs = [];
  if (answer.judged) pairs.push(["numbers compared", `${answer.judged}${answer.where ? `, differing: ${answer.where}` : ""}`], ["largest distance", `${answer.ulp} ulp`]);
  if (answer.judged) pairs.push(["slope held in", answer.readings.join(" or ") || "no precision gives these numbers"]);
  if (answer.at_zero) pairs.push(["gradient at zero", answer.at_zero]);
  if (answer.message) pairs.push(["message", make("code", { class: "message" }, answer.message)]);
  for (const known of answer.known) pairs.push(["known difference", typeof known === "string" ? known : explained(known)]);
  const made = [make("dl", {}, ...pairs.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]))];
  if (answer.numbers.length) made.push(numbers(answer.numbers));
  const curve = row.curves.find(([place]) => questions[place] === question);
  if (curve) made.push(figure([row], curve, question, bounds([curve])));
  made.push(command([row.runtime, row.variant, ...question.axes].map(axis => axis.replaceAll("/", ":")).join("/")));
  return made;
}

function explained(known) {
  const copy = listed[known].cloneNode(true);
  copy.removeAttribute("data-known");
  return copy;
}

function numbers(found) {
  const line = (kind, texts) => make("tr", {}, ...texts.map(text => make(kind, kind === "td" ? { class: "number" } : { scope: "col" }, text)));
  const table = make("table", {}, make("thead", {}, line("th", ["x", "got", "want", "ulp", "where"])), make("tbody", {}, ...found.map(each => line("td", each))));
  return make("div", { class: "wide" }, table);
}

function command(id) {
  const quoted = /^[\w@%+=:,./-]+$/.test(id) ? id : `'${id.replaceAll("'", `'"'"'`)}'`;
  return make("span", { class: "command" }, make("code", {}, `leaky-interop conformance --reproduce ${quoted}`), make("button", { type: "button", class: "copy" }, "copy"));
}

async function copy(button) {
  const code = button.previousElementSibling;
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "copied";
  } catch {  // not allowed here: the reader copies what is selected
    getSelection().selectAllChildren(code);
    button.textContent = "selected";
  }
}

// The plots.

const [WIDTH, LEFT, RIGHT, TOP, MIDDLE, ULP_TOP, BOTTOM] = [280, 34, 272, 8, 112, 132, 186];
const points = place => data.points[place];
const steps = ulp => Math.log10(1 + ulp);
const short = value => value >= 1e4 ? value.toExponential(1).replace("+", "") : `${+value.toPrecision(3)}`;

/** The common scales of curves and of the exact function: [least x, largest x, least y, largest y, largest ulp]. */
function bounds(curves) {
  const all = index => curves.flatMap(curve => points(curve[index])).filter(value => value !== null);
  const least = values => values.reduce((a, b) => Math.min(a, b), 0), most = values => values.reduce((a, b) => Math.max(a, b), 0);
  const xs = all(1), exact = curves.map(([place]) => Math.min(...xs) * Number(questions[place].slope));
  const ys = [...all(2), ...exact];
  return [least(xs), most(xs), least(ys), most(ys) || 1, Math.max(1, most(all(3)))];
}

/** One curve, which these variants of a runtime have in common. */
function figure(variants, [, xPlace, gotPlace, ulpPlace], { dtype, slope }, [x0, x1, y0, y1, far]) {
  const [xs, gots, ulps] = [xPlace, gotPlace, ulpPlace].map(points);
  const atX = x => (LEFT + (x - x0) / (x1 - x0 || 1) * (RIGHT - LEFT)).toFixed(1);
  const atY = y => (MIDDLE - (y - y0) / (y1 - y0) * (MIDDLE - TOP)).toFixed(1);
  const atUlp = ulp => (BOTTOM - steps(ulp) / steps(far) * (BOTTOM - ULP_TOP)).toFixed(1);
  const text = (x, y, anchor, words) => make("text", { x, y, "text-anchor": anchor }, words);
  const path = (kind, d) => make("path", { class: kind, d });
  const dots = xs.flatMap((x, i) => gots[i] === null ? [] : `M${atX(x)} ${atY(gots[i])}h0`).join("");
  const stems = xs.flatMap((x, i) => ulps[i] ? `M${atX(x)} ${BOTTOM}V${atUlp(ulps[i])}` : []).join("");
  const infinite = xs.flatMap((x, i) => ulps[i] === null ? `M${atX(x)} ${BOTTOM}V${ULP_TOP - 6}` : []).join("");
  const exact = path("right", `M${atX(x0)} ${atY(x0 * Number(slope))}L${atX(0)} ${atY(0)}L${atX(x1)} ${atY(x1)}`);
  const worst = ulps.includes(null) ? "infinitely far" : Math.max(0, ...ulps) ? `${short(Math.max(...ulps))} ulp at worst` : "exact";
  const where = `${variants[0].runtime} (${variants.map(row => row.variant).join(", ")})`;
  const label = `${where}, ${dtype}, slope ${slope}: ${worst}`;
  const drawing = make("svg", { viewBox: `0 0 ${WIDTH} 204`, role: "img", "aria-label": label },
    path("axis", `M${LEFT} ${atY(0)}H${RIGHT}M${atX(0)} ${TOP}V${MIDDLE}M${LEFT} ${BOTTOM}H${RIGHT}M${LEFT} ${ULP_TOP}H${RIGHT}`),
    exact, path("got", dots), path("ulp", stems), path("far", infinite),
    text(LEFT - 4, TOP + 4, "end", short(y1)), text(LEFT - 4, Number(atY(0)) + 3, "end", "0"),
    ...(MIDDLE - atY(0) > 14 ? [text(LEFT - 4, MIDDLE + 3, "end", `-${short(-y0)}`)] : []),
    text(LEFT - 4, ULP_TOP + 4, "end", short(far)), text(LEFT - 4, BOTTOM + 3, "end", "0"), text(LEFT - 4, (ULP_TOP + BOTTOM) / 2 + 4, "end", "ulp"),
    text(LEFT, 200, "start", short(-x0) === "0" ? "0" : `-${short(-x0)}`), text(atX(0), 200, "middle", "x = 0"), text(RIGHT, 200, "end", short(x1)));
  return make("figure", {}, make("figcaption", {}, make("strong", {}, variants[0].runtime), " ",
    make("span", { class: "soft" }, `${variants.map(row => row.variant).join(", ")} · ${worst}`)), drawing);
}

function drawPlots() {
  const wanted = rows.filter(row => !setting("runtime") || row.runtime === setting("runtime")).flatMap(row =>
    row.curves.filter(([place]) => questions[place].dtype === setting("plot_dtype") && questions[place].slope === setting("plot_slope")).map(curve => [row, curve]));
  const together = new Map();  // variants of a runtime that compute the same are one figure
  for (const [row, curve] of wanted) {
    const key = JSON.stringify([row.runtime, curve]);
    together.set(key, [...together.get(key) ?? [], row]);
  }
  const common = bounds(wanted.map(([, curve]) => curve));
  const figures = [...together].map(([key, variants]) => {
    const curve = JSON.parse(key)[1];
    return figure(variants, curve, questions[curve[0]], common);
  });
  document.querySelector(".plots").replaceChildren(...figures.length ? figures : [make("p", { class: "soft" }, "There is no curve of this runtime, type and slope.")]);
}

// Events.

function draw() {
  drawMatrix();
  drawPlots();
}

const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

function move(event) {
  const from = event.target.closest("#matrix td > button"), step = MOVES[event.key];
  if (!from || !step) return;
  event.preventDefault();
  const lines = [...matrix.querySelectorAll("tbody > tr:not(.below)")].filter(line => line.closest("table").parentNode === matrix);
  let line = lines.indexOf(from.closest("tr")), place = from.closest("td").cellIndex;
  do [line, place] = [line + step[0], place + step[1]];
  while (lines[line]?.cells[place] && !lines[line].cells[place].querySelector("button"));
  lines[line]?.cells[place]?.querySelector("button")?.focus();
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (button?.matches(".copy")) copy(button);
  else if (button?.matches(".close")) [...matrix.querySelectorAll("[aria-expanded=true]")].forEach(each => { fold(); each.focus(); });
  else if (button?.dataset.name) button.ariaExpanded === "true" ? fold() : unfold(button);
  else return;
  writeHash();
});
matrix.addEventListener("keydown", move);
for (const form of [filters, plotted]) {
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("input", ({ target }) => {
    if (target.form === filters) drawMatrix();
    if (target.form === plotted || target.name === "runtime") drawPlots();
    writeHash();
  });
}
filters.addEventListener("reset", () => setTimeout(() => { draw(); writeHash(); }));
addEventListener("hashchange", () => { readHash(); draw(); });

const asked = key => questions.map(question => question[key]);
offer("runtime", rows.map(row => row.runtime));
offer("dtype", data.columns.map(([dtype]) => dtype));
offer("verdict", data.verdicts);
offer("slope", asked("slope"));
const drawn = rows.flatMap(row => row.curves.map(([place]) => questions[place]));
offer("plot_dtype", data.columns.map(([dtype]) => dtype).filter(dtype => drawn.some(question => question.dtype === dtype)));
offer("plot_slope", drawn.map(question => question.slope));
document.getElementById("plots").hidden = !drawn.length;
readHash();
draw();
})();
