// A picture becomes a network's numbers, bit for bit as Pillow and numpy make them in Python.
//
// Pillow resizes in two passes, along rows and then along columns. Each pass adds up whole numbers: the filter's weights
// are held in 22 bits behind the point, and what comes out is rounded to a byte before the next pass.

const BITS = 22;
const MOST_PIXELS = 100_000_000;
const sinc = x => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

const FILTERS = {
  box: [0.5, x => (x > -0.5 && x <= 0.5 ? 1 : 0)],
  bilinear: [1, x => Math.max(0, 1 - Math.abs(x))],
  hamming: [1, x => {
    const a = Math.abs(x);
    if (a === 0) return 1;
    if (a >= 1) return 0;
    return (Math.sin(a * Math.PI) / (a * Math.PI)) * (0.54 + 0.46 * Math.cos(a * Math.PI));
  }],
  bicubic: [2, x => {
    const a = -0.5, t = Math.abs(x);
    if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
    if (t < 2) return (((t - 5) * t + 8) * t - 4) * a;
    return 0;
  }],
  lanczos: [3, x => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0)],
};

// For each new place along an axis: where its part of the old ones begins, and their weights.
function weights(before, after, [support, filter]) {
  const scale = before / after, wide = Math.max(scale, 1), reach = support * wide;
  return Array.from({ length: after }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(before, Math.trunc(centre + reach + 0.5));
    const found = [];
    for (let x = start; x < end; x++) found.push(filter((x - centre + 0.5) * (1 / wide)));
    const sum = found.reduce((a, b) => a + b, 0);
    return [start, found.map(w => (sum === 0 ? w : w / sum)).map(w => Math.trunc(w * 2 ** BITS + (w < 0 ? -0.5 : 0.5)))];
  });
}

// One pass: `lines` lines, `step` apart, each of whose pixels are `stride` apart.
function pass(source, target, table, channels, lines, from, to) {
  for (let line = 0; line < lines; line++) {
    table.forEach(([start, row], place) => {
      for (let c = 0; c < channels; c++) {
        let sum = 2 ** (BITS - 1);
        for (let i = 0; i < row.length; i++) sum += source[line * from.step + (start + i) * from.stride + c] * row[i];
        target[line * to.step + place * to.stride + c] = Math.min(255, Math.max(0, Math.floor(sum / 2 ** BITS)));
      }
    });
  }
}

function nearest(image, width, height) {
  const places = (before, after) => {
    const scale = before / after, found = [];
    for (let i = 0, at = scale * 0.5; i < after; i++, at += scale) found.push(Math.trunc(at));  // added up, as Pillow does
    return found;
  };
  const columns = places(image.width, width), rows = places(image.height, height), n = image.channels;
  const data = new Uint8Array(width * height * n);
  rows.forEach((row, y) => columns.forEach((column, x) => {
    for (let c = 0; c < n; c++) data[(y * width + x) * n + c] = image.data[(row * image.width + column) * n + c];
  }));
  return { width, height, channels: n, data };
}

// `tallFirst`: Pillow 13 and later shorten columns first where they lose more than twice what rows do. The order shows in
// the last digit, because the bytes between the passes are rounded.
export function resized(image, width, height, { filter, tallFirst }) {
  if (width === image.width && height === image.height) return image;
  if (width * height > MOST_PIXELS) throw new Error(`the picture would become ${width} x ${height}`);
  if (filter === "nearest") return nearest(image, width, height);
  const n = image.channels, kind = FILTERS[filter];
  const along = made => {
    if (width === made.width) return made;
    const data = new Uint8Array(width * made.height * n), table = weights(made.width, width, kind);
    pass(made.data, data, table, n, made.height, { step: made.width * n, stride: n }, { step: width * n, stride: n });
    return { width, height: made.height, channels: n, data };
  };
  const down = made => {
    if (height === made.height) return made;
    const data = new Uint8Array(made.width * height * n), table = weights(made.height, height, kind), stride = made.width * n;
    pass(made.data, data, table, n, made.width, { step: n, stride }, { step: n, stride });
    return { width: made.width, height, channels: n, data };
  };
  const lost = image.height - height;
  return tallFirst && lost > 0 && lost > 2 * (image.width - width) ? along(down(image)) : down(along(image));
}

// The browser's four bytes a pixel as one of grey or three of colour.
export function opaque({ width, height, data }, channels) {
  const made = new Uint8Array(width * height * channels);
  for (let i = 0, j = 0; i < data.length; i += 4) {
    if (channels === 3) for (let c = 0; c < 3; c++) made[j++] = data[i + c];
    else made[j++] = (data[i] * 19595 + data[i + 1] * 38470 + data[i + 2] * 7471 + 0x8000) >> 16;
  }
  return { width, height, channels, data: made };
}

const even = x => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

function cropped(image, left, top, width, height) {
  const n = image.channels, data = new Uint8Array(width * height * n);
  for (let y = 0; y < height; y++) {
    const start = ((top + y) * image.width + left) * n;
    data.set(image.data.subarray(start, start + width * n), y * width * n);
  }
  return { width, height, channels: n, data };
}

// The picture at the recipe's size, and where its top left corner stands in the frame.
function framed(image, recipe) {
  if (!recipe.size) return [image, 0, 0];
  const [height, width] = recipe.size;
  if (recipe.fit === "stretch") return [resized(image, width, height, recipe), 0, 0];
  if (recipe.fit === "crop") {
    const short = Math.min(image.width, image.height), long = Math.max(image.width, image.height);
    const longer = Math.trunc((recipe.shorter * long) / short);
    const size = image.width <= image.height ? [recipe.shorter, longer] : [longer, recipe.shorter];
    const made = resized(image, ...size, recipe);
    return [cropped(made, even((made.width - width) / 2), even((made.height - height) / 2), width, height), 0, 0];
  }
  const narrow = width * image.height < height * image.width;
  const inner = narrow
    ? [width, Math.max(1, Math.floor((image.height * width) / image.width))]
    : [Math.max(1, Math.floor((image.width * height) / image.height)), height];
  const made = resized(image, ...inner, recipe);
  return [made, Math.floor((width - inner[0]) / 2), Math.floor((height - inner[1]) / 2)];
}

// [numbers, shape] of the network's one input, its batch included.
export function numbers(image, recipe, input) {
  const n = input.channels;
  const [made, left, top] = framed(opaque(image, n), recipe);
  const [height, width] = recipe.size ?? [made.height, made.width];
  const first = input.layout === "nchw", bytes = input.dtype === "uint8", round = Math.fround;
  const data = bytes ? new Uint8Array(n * height * width) : new Float32Array(n * height * width);
  const of = (row, c, otherwise) => round(row.length === 0 ? otherwise : row[row.length === 1 ? 0 : c]);
  for (let c = 0; c < n; c++) {
    const from = n === 3 && recipe.colours === "bgr" ? 2 - c : c;
    const divisor = round(recipe.divisor), mean = of(recipe.mean, c, 0), std = of(recipe.std, c, 1);
    const value = x => (bytes ? x : round(round(round(round(x) / divisor) - mean) / std));
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const inside = x >= left && y >= top && x < left + made.width && y < top + made.height;
        const pixel = inside ? made.data[((y - top) * made.width + x - left) * n + from] : recipe.padding;
        data[first ? (c * height + y) * width + x : (y * width + x) * n + c] = value(pixel);
      }
    }
  }
  return [data, first ? [1, n, height, width] : [1, height, width, n]];
}

// Seeded normal numbers.
export function normal(count, seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return Float32Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()));
}
