"""TensorFlow.js in Node.js, on its own CPU backend. pip cannot install it: npm puts it beside this interpreter.

Its operator and its layer of the name, and its layer reLU, which Keras' argument negativeSlope is given.
"""

import base64
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

ENVIRONMENT = {"python": "3.11", "packages": ["numpy==2.4.6"]}
WANTED = "@tensorflow/tfjs@4.22.0"
PACKAGE = Path(sys.prefix) / "node_modules" / "@tensorflow" / "tfjs" / "package.json"
if not PACKAGE.exists():
    raise ImportError(f"it is a package of npm: npm install --prefix {sys.prefix} {WANTED}")
PROGRAM = """
console.log = console.info = console.warn = console.error;
const tf = await import("@tensorflow/tfjs");
const { createInterface } = await import("node:readline");
await tf.setBackend("cpu");

const KINDS = { float32: Float32Array, float64: Float64Array, int32: Int32Array };
const unpack = ({ data, dtype }) => new KINDS[dtype](new Uint8Array(Buffer.from(data, "base64")).buffer);
const tensor = (array) => tf.tensor(unpack(array), array.shape, array.dtype);
const pack = (made) => {
  const data = made.dataSync();
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return { data: bytes.toString("base64"), dtype: made.dtype, shape: made.shape };
};
const given = (name, slope) => (slope === undefined ? {} : { [name]: slope });
const LEAKY = {
  operator: (x, slope) => tf.leakyRelu(x, slope),
  layer: (x, slope) => tf.layers.leakyReLU(given("alpha", slope)).apply(x),
  "ReLU layer": (x, slope) => tf.layers.reLU(given("negativeSlope", slope)).apply(x),
};

function run({ variant, operator, placement, gradient }, arrays) {
  const prelu = operator === "prelu";
  const slope = "slope" in arrays && !prelu ? unpack(arrays.slope)[0] : undefined;
  const leaves = [tensor(arrays.x), ...(prelu ? [tensor(arrays.slope)] : [])];
  const activate = (x, learned) => (prelu ? tf.prelu(x, learned) : LEAKY[variant](x, slope));
  const forward = (x, learned) => {
    if (placement === "alone") return activate(x, learned);
    const last = tf.transpose(x, [0, 2, 3, 1]);
    if (placement === "max_pool") {
      return tf.transpose(tf.maxPool(activate(last, learned), 2, 2, "valid"), [0, 3, 1, 2]);
    }
    const filter = tf.transpose(tensor(arrays.w), [2, 3, 1, 0]);
    const how = { x: last, filter, strides: 1, pad: "valid" };
    const fused = prelu
      ? { activation: "prelu", preluActivationWeights: learned }
      : { activation: "leakyrelu", ...given("leakyreluAlpha", slope) };
    const y = variant === "operator"
      ? tf.fused.conv2d({ ...how, ...fused })
      : activate(tf.conv2d(last, filter, 1, "valid"), learned);
    return tf.transpose(y, [0, 3, 1, 2]);
  };
  const result = { y: pack(forward(...leaves)) };
  if (gradient) {
    const [dx, dslope] = tf.grads(forward)(leaves);
    result.dx = pack(dx);
    if (prelu) result.dslope = pack(dslope);
  }
  return result;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { job, arrays } = JSON.parse(line);
  let answer;
  try {
    answer = tf.tidy(() => run(job, arrays));
  } catch (error) {
    answer = { error: error.message };
  }
  process.stdout.write(JSON.stringify(answer) + "\\n");
}
"""


def describe():
    return {
        "name": "tfjs",
        "version": json.loads(PACKAGE.read_text())["version"],
        "variants": ["operator", "layer", "ReLU layer"],
        "dtypes": ["float32", "int32"],
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool"],
        "default": 0.2,
        "held": {"float32": "float64"},
        "gradients": True,
        "narrower": {
            "layer": {"operators": ["leaky_relu"], "default": 0.3},
            "ReLU layer": {"operators": ["leaky_relu"], "default": None},
        },
    }


def start():
    """One Node.js for all jobs: it takes longer to start than to answer."""
    command = ["node", "--input-type=module", "-e", PROGRAM]
    return subprocess.Popen(  # imports are resolved from there
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=sys.prefix
    )


NODE = start()


def run(job, arrays):
    sent = dict(arrays)
    if job["operator"] == "leaky_relu" and job["slope"] is not None:
        sent["slope"] = np.array([job["slope"]], np.float64)
    asked = {name: job[name] for name in ("variant", "operator", "placement", "gradient")}  # JSON has no NaN for slopes
    NODE.stdin.write(json.dumps({"job": asked, "arrays": {name: pack(array) for name, array in sent.items()}}) + "\n")
    NODE.stdin.flush()
    answer = json.loads(NODE.stdout.readline())
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return {name: unpack(array) for name, array in answer.items()}


def pack(array):
    data = base64.b64encode(array.tobytes()).decode()
    return {"data": data, "dtype": array.dtype.name, "shape": array.shape}


def unpack(packed):
    return np.frombuffer(base64.b64decode(packed["data"]), packed["dtype"]).reshape(packed["shape"])
