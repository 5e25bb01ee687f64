// Runs the network of this page on what the visitor chooses. Texts of the network are written as text, never as HTML.

import { normal, numbers } from "./pixels.js";

const find = id => document.getElementById(id);
const make = (tag, given = {}, ...inside) => {
  const made = Object.assign(document.createElement(tag), given);
  made.append(...inside);
  return made;
};
const say = (text, bad = false) => {
  find("state").textContent = text;
  find("state").classList.toggle("bad", bad);
};
const digits = x => (Number.isFinite(x) ? Number(x.toPrecision(4)).toString() : String(x));

// One file or sample as the browser decodes it: turned as its EXIF says, its colours left as they are in the file.
async function decoded(blob) {
  const how = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" };
  const bitmap = await createImageBitmap(blob, how);
  const canvas = make("canvas", { width: bitmap.width, height: bitmap.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

const seeThrough = ({ data }) => {
  for (let i = 3; i < data.length; i += 4) if (data[i] !== 255) return true;
  return false;
};

function classes(output, data) {
  let scores = Array.from(data, Number);
  if (output.softmax) {
    const most = Math.max(...scores), powers = scores.map(s => Math.exp(s - most));
    const sum = powers.reduce((a, b) => a + b, 0);
    scores = powers.map(p => p / sum);
  }
  const isNumber = x => !Number.isNaN(x);
  const order = scores.map((_, i) => i).filter(i => isNumber(scores[i])).sort((a, b) => scores[b] - scores[a] || a - b);
  const parts = scores.every(s => s >= 0 && s <= 1);
  return make("ol", {}, ...order.slice(0, output.top).map(i => {
    const name = output.labels ? output.labels[i] ?? `class ${i}` : `class ${i}`;
    const row = make("li", {}, make("span", { textContent: name }), make("code", { textContent: digits(scores[i]) }));
    if (parts) row.append(make("meter", { min: 0, max: 1, value: scores[i] }));
    return row;
  }));
}

function picture(output, data, dims) {
  const first = output.layout === "nchw", n = output.channels;
  const [height, width] = first ? dims.slice(2) : dims.slice(1, 3);
  const values = Array.from(data, Number);
  const finite = values.filter(Number.isFinite);
  const [low, high] = output.range ?? [finite.reduce((a, b) => Math.min(a, b), Infinity), finite.reduce((a, b) => Math.max(a, b), -Infinity)];
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) {
      const from = n === 1 ? 0 : c;
      image.data[4 * i + c] = ((values[first ? from * width * height + i : i * n + from] - low) / (high - low)) * 255;
    }
    image.data[4 * i + 3] = 255;
  }
  const canvas = make("canvas", { width, height });
  canvas.getContext("2d").putImageData(image, 0, 0);
  const text = `${width} x ${height}, black is ${digits(low)} and white ${digits(high)}`;
  return make("div", {}, canvas, make("p", { className: "soft", textContent: text }));
}

function plain(data, dims) {
  const some = Array.from(data.slice(0, 10), x => digits(Number(x))).join("  ");
  return make("p", {}, make("code", { textContent: some + (data.length > 10 ? " ..." : "") }), ` (${dims.join(" x ") || "one number"})`);
}

async function start() {
  const network = await (await fetch("network.json")).json();
  const ort = await import(`./${network.runtime}`);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.proxy = false;
  ort.env.wasm.wasmPaths = { wasm: new URL("runtime/ort-wasm-simd-threaded.wasm", document.baseURI).href };
  const session = await ort.InferenceSession.create(new URL("model.onnx", document.baseURI).href, { executionProviders: ["wasm"] });
  let turn = Promise.resolve();

  async function run(data, shape, shown, note = "") {
    const began = performance.now();
    const found = await session.run({ [network.input.name]: new ort.Tensor(network.input.dtype, data, shape) });
    const time = performance.now() - began;
    const parts = network.outputs.map(output => {
      const { data: values, dims } = found[output.name];
      const body = output.kind === "classes" ? classes(output, values) : output.kind === "picture" ? picture(output, values, dims) : plain(values, dims);
      return network.outputs.length > 1 ? make("div", {}, make("h2", { textContent: output.name }), body) : body;
    });
    find("shown").replaceChildren(...shown);
    find("outputs").replaceChildren(...parts);
    find("result").hidden = false;
    const outputs = Object.fromEntries(network.outputs.map(({ name }) => [name, { data: found[name].data, dims: [...found[name].dims] }]));
    window.last = { input: { data, dims: shape }, outputs };  // for the console: every number of the last run
    say(`Run in ${time.toFixed(time < 10 ? 1 : 0)} ms.${note}`);
  }

  // One run after the other; what fails is said.
  const next = work => (turn = turn.then(() => (say("Running ..."), work())).catch(error => say(`That failed: ${error.message ?? error}`, true)));

  const show = (blob, name) => next(async () => {
    let image;
    try { image = await decoded(blob); } catch { throw new Error(`${name} is no picture that this browser reads`); }
    const note = seeThrough(image) ? " Parts of the picture are transparent: their colours are not those that Python would see." : "";
    const address = URL.createObjectURL(blob);
    const seen = make("img", { src: address, alt: name });
    seen.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
    await run(...numbers(image, network.preprocessing, network.input), [seen], note);
  });

  if (network.input.kind === "picture") {
    const drop = find("drop"), file = find("file"), buttons = [];
    const chosen = button => buttons.forEach(b => b.setAttribute("aria-pressed", b === button));
    file.addEventListener("change", () => file.files[0] && (chosen(null), show(file.files[0], file.files[0].name)));
    for (const kind of ["dragover", "dragleave", "drop"]) {
      drop.addEventListener(kind, event => {
        event.preventDefault();
        drop.classList.toggle("over", kind === "dragover");
        if (kind === "drop" && event.dataTransfer.files[0]) chosen(null), show(event.dataTransfer.files[0], event.dataTransfer.files[0].name);
      });
    }
    for (const place of network.samples) {
      const button = make("button", { type: "button", ariaPressed: "false" }, make("img", { src: place, alt: place.replace(/^.*\d_/, "") }));
      button.addEventListener("click", async () => (chosen(button), show(await (await fetch(place)).blob(), place)));
      buttons.push(button);
    }
    find("samples").append(...buttons);
    file.disabled = false;
    say("Ready.");
  } else {
    const draw = () => {
      const shape = network.input.shape, seed = Number(find("seed").value);
      next(() => run(normal(shape.reduce((a, b) => a * b, 1), seed), [1, ...shape], [`Normal numbers of seed ${seed}, ${shape.join(" x ")}`]));
    };
    find("draw").addEventListener("submit", event => {
      event.preventDefault();
      draw();
      find("seed").value = (Number(find("seed").value) + 1) % 2 ** 32;
    });
    for (const each of find("draw").elements) each.disabled = false;
    draw();
  }
}

start().catch(error => say(`The page does not work here: ${error.message ?? error}`, true));
