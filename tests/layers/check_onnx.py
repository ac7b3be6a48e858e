#!/usr/bin/env python3
"""Holds exported models against ONNX: its checker, its shape inference, and two programs that run them.

usage: check_onnx.py FOLDER      every NAME.onnx with NAME.x.npy and NAME.y.npy, what it is to give; of other inputs
                                 and outputs likewise, by their names
       check_onnx.py --tables FOLDER      every NAME.onnx with NAME.csv, rows of the table it takes, and NAME.told.csv, what
                                 `lockstep predict` says of them; also by ONNX's own evaluator and by onnxruntime if they
                                 are there
       check_onnx.py --vectors   the operators as written down here against the vectors that come with ONNX; says which
                                 of them are of a form that the exported models do not use
       check_onnx.py --cases FOLDER NAME ...   such vectors as NPY files: FOLDER/NAME.0.npy, ... and NAME.y.npy

Needs Debian's python3-onnx and python3-numpy (ONNX's own evaluator came with 1.13); --vectors and --cases libonnx-testdata; python3-opencv is used if it is there.
Prints a line for each model and exits with 1 if one of them is not right, with 77 if what it needs is not installed.
"""
import csv
import datetime
import glob
import os
import sys

try:
    import numpy as np
    import onnx
    from onnx import numpy_helper
except ImportError as missing:
    print(f"not installed: {missing.name} (Debian: python3-onnx)")
    sys.exit(77)
try:
    import cv2
except ImportError:
    cv2 = None
try:
    from onnx.reference import ReferenceEvaluator
except ImportError:
    ReferenceEvaluator = None
try:
    import onnxruntime
except ImportError:
    onnxruntime = None

VECTORS = "/usr/share/libonnx-testdata/data/node"
# Two fp32 programs that sum in different orders differ by a few steps (6e-8) times the square root of the number of
# terms; the models here have at most some hundred terms a sum and ten operations in a row.
TOLERANCE = 2e-5


def erf(x):
    from math import erf as scalar

    return np.vectorize(scalar, otypes=[np.float32])(x)


def reshape(x, shape):
    return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(shape)])


def gemm(a, b, c=0.0, alpha=1.0, beta=1.0, transA=0, transB=0):
    return alpha * ((a.T if transA else a) @ (b.T if transB else b)) + beta * c


def batch_norm(x, scale, bias, mean, var, epsilon=1e-5, momentum=0.9):
    def channel(v):
        return v.reshape([1, -1] + [1] * (x.ndim - 2))

    return (x - channel(mean)) / np.sqrt(channel(var) + epsilon) * channel(scale) + channel(bias)


def tap_slices(shape, kernel, strides, dilations, pads, out):
    """For each place of the window the slices of the padded input that all outputs read there."""
    for place in np.ndindex(*kernel):
        yield place, tuple(slice(p * d, p * d + (o - 1) * s + 1, s) for p, d, s, o in zip(place, dilations, strides, out))


def conv_pads(kernel, strides, dilations, pads, auto_pad, spatial):
    """pads with the ends behind the beginnings, as attributes or `auto_pad` say."""
    n = len(kernel)
    if auto_pad in (b"SAME_UPPER", b"SAME_LOWER"):
        total = [max(0, (-(-x // s) - 1) * s + (k - 1) * d + 1 - x) for x, s, k, d in zip(spatial, strides, kernel, dilations)]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        return small + large if auto_pad == b"SAME_UPPER" else large + small
    return list(pads) if pads else [0] * (2 * n)


def conv(x, w, b=None, kernel_shape=None, strides=None, dilations=None, group=1, pads=None, auto_pad=b"NOTSET"):
    n = x.ndim - 2
    kernel, strides, dilations = w.shape[2:], strides or [1] * n, dilations or [1] * n
    pads = conv_pads(kernel, strides, dilations, pads, auto_pad, x.shape[2:])
    padded = np.pad(x, [(0, 0), (0, 0)] + list(zip(pads[:n], pads[n:])))
    out = [(p - (k - 1) * d - 1) // s + 1 for p, k, d, s in zip(padded.shape[2:], kernel, dilations, strides)]
    y = np.zeros([x.shape[0], w.shape[0]] + out, x.dtype)
    ins, outs = w.shape[1], w.shape[0] // group
    for place, at in tap_slices(x.shape, kernel, strides, dilations, pads, out):
        for g in range(group):
            read = padded[(slice(None), slice(g * ins, (g + 1) * ins)) + at]
            tap = w[(slice(g * outs, (g + 1) * outs), slice(None)) + place]
            y[:, g * outs:(g + 1) * outs] += np.einsum("bi...,oi->bo...", read, tap)
    return y if b is None else y + b.reshape([1, -1] + [1] * n)


def conv_transpose(x, w, b=None, kernel_shape=None, strides=None, dilations=None, group=1, pads=None, output_padding=None,
                   output_shape=None, auto_pad=b"NOTSET"):
    n = x.ndim - 2
    kernel, strides, dilations = w.shape[2:], strides or [1] * n, dilations or [1] * n
    output_padding = output_padding or [0] * n
    full = [(i - 1) * s + (k - 1) * d + 1 + o
            for i, s, k, d, o in zip(x.shape[2:], strides, kernel, dilations, output_padding)]
    pads = list(pads) if pads else [0] * (2 * n)
    if output_shape or auto_pad in (b"SAME_UPPER", b"SAME_LOWER"):
        wanted = output_shape or [i * s for i, s in zip(x.shape[2:], strides)]
        total = [max(0, f - o) for f, o in zip(full, wanted)]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        pads = small + large if auto_pad == b"SAME_UPPER" else large + small
        full = [max(f, o) for f, o in zip(full, wanted)]
    y = np.zeros([x.shape[0], w.shape[1] * group] + full, x.dtype)
    ins, outs = w.shape[0] // group, w.shape[1]
    for place, at in tap_slices(x.shape, kernel, strides, dilations, pads, x.shape[2:]):
        for g in range(group):
            read = x[:, g * ins:(g + 1) * ins]
            tap = w[(slice(g * ins, (g + 1) * ins), slice(None)) + place]
            y[(slice(None), slice(g * outs, (g + 1) * outs)) + at] += np.einsum("bi...,io->bo...", read, tap)
    y = y[(slice(None), slice(None)) + tuple(slice(p, f - q) for p, q, f in zip(pads[:n], pads[n:], full))]
    return y if b is None else y + b.reshape([1, -1] + [1] * n)


def windows(x, kernel_shape, strides, pads, dilations, fill):
    """(N, C, H', W', kernel rows, kernel columns) of x in a border of `fill`."""
    x = np.pad(x, [(0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])], constant_values=fill)
    places = [np.arange((n - d * (k - 1) - 1) // s + 1)[:, None] * s + np.arange(k) * d
              for n, k, s, d in zip(x.shape[2:], kernel_shape, strides, dilations)]
    return x[:, :, places[0][:, None, :, None], places[1][None, :, None, :]]


def max_pool(x, kernel_shape, strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1), ceil_mode=0):
    return windows(x, kernel_shape, strides, pads, dilations, -np.inf).max(axis=(4, 5))


def average_pool(x, kernel_shape, strides=(1, 1), pads=(0, 0, 0, 0), count_include_pad=0, ceil_mode=0):
    sums = windows(x, kernel_shape, strides, pads, (1, 1), 0.0).sum(axis=(4, 5))
    counts = windows(np.ones_like(x), kernel_shape, strides, pads, (1, 1), float(count_include_pad)).sum(axis=(4, 5))
    return sums / counts


def pad(x, pads, value=None, mode=b"constant"):
    pads = [int(n) for n in pads]
    n = x.ndim
    x = x[tuple(slice(max(0, -b), e + min(0, a)) for b, a, e in zip(pads[:n], pads[n:], x.shape))]
    border = [(max(0, b), max(0, a)) for b, a in zip(pads[:n], pads[n:])]
    if mode == b"constant":
        return np.pad(x, border, constant_values=0.0 if value is None else value)
    return np.pad(x, border, mode=mode.decode())


def resize(x, roi, scales, mode=b"nearest", coordinate_transformation_mode=b"half_pixel", nearest_mode=b"floor", **_):
    for axis, scale in enumerate(scales):
        n = x.shape[axis]
        out = int(np.floor(n * scale))
        i = np.arange(out)
        if coordinate_transformation_mode == b"asymmetric":
            at = i / scale
        elif coordinate_transformation_mode == b"align_corners":
            at = i * (n - 1) / (n * scale - 1) if out > 1 else i * 0.0  # of the length before it is rounded
        else:
            at = (i + 0.5) / scale - 0.5
        low = np.floor(at).astype(int)
        shape = [-1 if k == axis else 1 for k in range(x.ndim)]
        part = (np.zeros(out) if mode == b"nearest" else at - low).reshape(shape)
        x = (1 - part) * x.take(np.clip(low, 0, n - 1), axis) + part * x.take(np.clip(low + 1, 0, n - 1), axis)
    return x


def part(x, starts, ends, axes=None, steps=None):
    at = [slice(None)] * x.ndim
    for i, (start, end) in enumerate(zip(starts, ends)):
        at[i if axes is None else int(axes[i])] = slice(int(start), int(end), 1 if steps is None else int(steps[i]))
    return x[tuple(at)]


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def reduce_sum(x, axes=None, keepdims=1, noop_with_empty_axes=0):
    none = axes is None or np.size(axes) == 0
    return x if none and noop_with_empty_axes else x.sum(axis=None if none else tuple(axes), keepdims=bool(keepdims))


def cast(x, to):
    return x.astype(onnx.helper.tensor_dtype_to_np_dtype(to) if hasattr(onnx.helper, "tensor_dtype_to_np_dtype")
                    else onnx.mapping.TENSOR_TYPE_TO_NP_TYPE[to])


def label_encoder(x, keys_strings, values_int64s, default_int64=-1):
    numbers = dict(zip((key.decode() for key in keys_strings), values_int64s))
    return np.vectorize(lambda text: numbers.get(text, default_int64), otypes=[np.int64])(x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def recurrent(cell):
    """One direction: Y (steps, 1, batch, hidden) of x (steps, batch, inputs)."""

    def run_cell(x, w, r, b=None, hidden_size=0, direction=b"forward", linear_before_reset=0):
        steps, batch, _ = x.shape
        w, r = w[0], r[0]
        b_in, b_hid = np.split(np.zeros(2 * w.shape[0], x.dtype) if b is None else b[0], 2)
        state = (np.zeros((batch, r.shape[1]), x.dtype), np.zeros((batch, r.shape[1]), x.dtype))
        y = np.zeros((steps, 1, batch, r.shape[1]), x.dtype)
        for t in reversed(range(steps)) if direction == b"reverse" else range(steps):
            state = cell(x[t] @ w.T + b_in, r, b_hid, state, linear_before_reset)
            y[t, 0] = state[0]
        return y

    return run_cell


def lstm_cell(a, r, b, state, _):
    i, o, f, g = np.split(a + state[0] @ r.T + b, 4, axis=1)
    c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_cell(a, r, b, state, linear_before_reset):
    h = state[0]
    (az, ar, an), (rz, rr, rn), (bz, br, bn) = np.split(a, 3, axis=1), np.split(r, 3), np.split(b, 3)
    z, reset = sigmoid(az + h @ rz.T + bz), sigmoid(ar + h @ rr.T + br)
    n = np.tanh(an + reset * (h @ rn.T + bn)) if linear_before_reset else np.tanh(an + (reset * h) @ rn.T + bn)
    return (1 - z) * n + z * h, None


# Each as https://onnx.ai/onnx/operators words it, in opset 14.
OPERATORS = {
    "Abs": np.abs,
    "Add": lambda a, b: a + b,
    "And": np.logical_and,
    "ArgMax": lambda x, axis=0, keepdims=1, select_last_index=0: np.argmax(x, axis, keepdims=bool(keepdims)),
    "AveragePool": average_pool,
    "BatchNormalization": batch_norm,
    "Cast": cast,
    "Concat": lambda *x, axis: np.concatenate(x, axis),
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Cos": np.cos,
    "Div": lambda a, b: a / b,
    "Equal": np.equal,
    "Erf": erf,
    "Flatten": lambda x, axis=1: x.reshape(int(np.prod(x.shape[:axis])), -1),
    "Floor": np.floor,
    "Gather": lambda x, indices, axis=0: np.take(x, indices, axis),
    "GRU": recurrent(gru_cell),
    "Gemm": gemm,
    "GlobalAveragePool": lambda x: x.mean(axis=(2, 3), keepdims=True),
    "Greater": lambda a, b: a > b,
    "Identity": lambda x: x,
    "IsNaN": np.isnan,
    "LSTM": recurrent(lstm_cell),
    "LabelEncoder": label_encoder,
    "LeakyRelu": lambda x, alpha=0.01: np.where(x < 0, alpha * x, x),
    "MatMul": np.matmul,
    "Max": lambda *x: np.maximum.reduce(np.broadcast_arrays(*x)),
    "MaxPool": max_pool,
    "Min": lambda *x: np.minimum.reduce(np.broadcast_arrays(*x)),
    "Mul": lambda a, b: a * b,
    "Neg": np.negative,
    "Pad": pad,
    "ReduceMean": lambda x, axes=None, keepdims=1: x.mean(axis=None if axes is None else tuple(axes), keepdims=bool(keepdims)),
    "ReduceSum": reduce_sum,
    "Relu": lambda x: np.maximum(x, 0),
    "Reshape": reshape,
    "Resize": resize,
    "Sigmoid": sigmoid,
    "Sin": np.sin,
    "Slice": part,
    "Softmax": softmax,
    "Softplus": lambda x: np.log(np.exp(x) + 1),  # which overflows, as in ONNX's own evaluator
    "Sqrt": np.sqrt,
    "Sub": lambda a, b: a - b,
    "Tanh": np.tanh,
    "Transpose": lambda x, perm=None: np.transpose(x, perm),
    "Where": np.where,
}


def run_node(node, inputs):
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    y = OPERATORS[node.op_type](*inputs, **attributes)
    return y[-1] if node.op_type in ("GRU", "LSTM") and not node.output[0] else y  # Y_h alone is asked for


def run_all(model, inputs):
    """In double, so that what is compared with it is the engine's rounding alone."""
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    values = {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in values.items()}
    values |= {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in inputs.items()}
    for node in model.graph.node:
        values[node.output[0]] = run_node(node, [values[i] if i else None for i in node.input])
    return [values[output.name] for output in model.graph.output]


def run(model, x):
    return run_all(model, {model.graph.input[0].name: x})[0]


def run_opencv(path, x):
    net = cv2.dnn.readNetFromONNX(path)
    net.enableFusion(False)  # which adds the wrong thing in a residual within a residual (OpenCV 4.6)
    net.setInput(x)
    return net.forward()


def shape_of(value):
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def error_of(got, want):
    """Relative to the largest value; infinite where there is a NaN or another shape."""
    if got.shape != want.shape:
        return float("inf")
    got, want = got.astype(np.float64), want.astype(np.float64)
    error = np.abs(got - want).max(initial=0.0) / np.abs(want).max(initial=1.0)
    return error if np.isfinite(error) else float("inf")


ran_by_opencv = []


def check_ports(path, model):
    """A model of several inputs or outputs: all of them, alone and as a batch."""
    def load(port):
        array = np.load(f"{path[:-4]}{port.name}.npy")
        assert shape_of(port) == ["batch", *array.shape[1:]], shape_of(port)
        return array.astype(np.int64) if array.dtype == np.int32 else array

    inputs = {port.name: load(port) for port in model.graph.input}
    worst = 0.0
    for samples in (None, 1):
        got = run_all(model, {name: x[:samples] for name, x in inputs.items()})
        worst = max([worst] + [error_of(y, load(port)[:samples]) for port, y in zip(model.graph.output, got)])
    print(f"{os.path.basename(path)}: {'ok' if worst <= TOLERANCE else 'WRONG'}  {worst:.1e}")
    return worst <= TOLERANCE


def check(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    if len(model.graph.input) > 1 or len(model.graph.output) > 1:
        return check_ports(path, model)
    x, want = np.load(path[:-4] + "x.npy"), np.load(path[:-4] + "y.npy")
    if x.dtype == np.int32:  # tokens, which ONNX has as integers of 64 bits
        x = x.astype(np.int64)
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    bare.graph.output[0].type.tensor_type.ClearField("shape")  # for the inference to find
    inferred = onnx.shape_inference.infer_shapes(bare, strict_mode=True)
    assert shape_of(model.graph.input[0]) == ["batch", *x.shape[1:]], shape_of(model.graph.input[0])
    assert shape_of(model.graph.output[0]) == ["batch", *want.shape[1:]], shape_of(model.graph.output[0])
    assert shape_of(inferred.graph.output[0])[1:] == list(want.shape[1:]), shape_of(inferred.graph.output[0])
    assert model.opset_import[0].version == 14
    errors = {"numpy": error_of(run(model, x), want)}
    if "of_batch" not in path:  # evaluated by the statistics of the batch it is given
        errors["one sample"] = error_of(run(model, x[:1]), want[:1])
    note = ""
    if cv2 is not None:
        try:
            errors["OpenCV"] = error_of(run_opencv(path, x), want)
            ran_by_opencv.append(path)
        except cv2.error as refused:
            note = "OpenCV cannot: " + " ".join(str(refused).split())[-160:]
    right = all(e <= TOLERANCE for e in errors.values())
    print(f"{os.path.basename(path)}: {'ok' if right else 'WRONG'}  " +
          "  ".join(f"{k} {e:.1e}" for k, e in errors.items()) + ("  " + note if note else ""))
    return right


def cell(text, is_text):
    """As an exported table takes it: a category as text; numbers, yes and no, and dates as numbers."""
    if is_text:
        return text
    words = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0, "": np.nan, "NA": np.nan, "?": np.nan}
    if text.lower() in words or text in words:
        return words.get(text, words.get(text.lower()))
    try:
        return float(text)
    except ValueError:
        if "-" not in text:  # a time of the day
            hour, minute = text.split(":")
            return (int(hour) * 60 + int(minute)) / 1440.0
        since = datetime.datetime.fromisoformat(text) - datetime.datetime(1970, 1, 1)
        return since / datetime.timedelta(days=1)


def check_table(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    with open(path[:-4] + "csv", newline="") as rows, open(path[:-4] + "told.csv", newline="") as told:
        rows, told = list(csv.DictReader(rows)), list(csv.DictReader(told))
    inputs = {}
    for port in model.graph.input:
        assert shape_of(port) == ["batch", 1], shape_of(port)
        is_text = port.type.tensor_type.elem_type == onnx.TensorProto.STRING
        column = [[cell(row[port.name], is_text)] for row in rows]
        inputs[port.name] = np.array(column, dtype=object if is_text else np.float64)
    answers = {"numpy": run_all(model, inputs), "one row": [y[:1] for y in run_all(model, inputs)],
               "row by row": [np.concatenate(y) for y in zip(*(
                   run_all(model, {k: v[i:i + 1] for k, v in inputs.items()}) for i in range(len(rows))))]}
    if ReferenceEvaluator is not None:
        answers["onnx"] = ReferenceEvaluator(model).run(None, inputs)
    if onnxruntime is not None:
        answers["onnxruntime"] = onnxruntime.InferenceSession(path).run(None, inputs)
    errors = {}
    for by, got in answers.items():
        errors[by] = 0.0
        for port, y in zip(model.graph.output, got):
            want = told[:len(y)]
            if port.name == "class":
                wrong = any(row["class"] != (c.decode() if isinstance(c, bytes) else c) for row, c in zip(want, y))
                errors[by] = float("inf") if wrong else errors[by]
                continue
            names = [name for name in want[0] if name.startswith("probability of") or name == port.name]
            numbers = np.array([[float(row[name]) for name in names] for row in want])
            errors[by] = max(errors[by], error_of(np.asarray(y), numbers))
    right = all(e <= TOLERANCE for e in errors.values())
    print(f"{os.path.basename(path)}: {'ok' if right else 'WRONG'}  " + "  ".join(f"{k} {e:.1e}" for k, e in errors.items()))
    return right


def vector(name):
    """The first node, the inputs and the first output of one of the vectors."""
    model = onnx.load(f"{VECTORS}/{name}/model.onnx")

    def tensor(file):
        with open(f"{VECTORS}/{name}/test_data_set_0/{file}.pb", "rb") as f:
            return numpy_helper.to_array(onnx.TensorProto.FromString(f.read()))

    given = {value.name: tensor(f"input_{i}") for i, value in enumerate(model.graph.input)}
    node = model.graph.node[0]
    return node, [given.get(name) for name in node.input], tensor("output_0")


def unused_form(node):
    """Whether it is of a form that no layer is exported as."""
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type in ("MaxPool", "AveragePool"):
        # Padding is said in numbers, and where the last window ends too.
        flat = len(attributes["kernel_shape"]) != 2
        return flat or attributes.get("auto_pad", b"NOTSET") != b"NOTSET" or attributes.get("ceil_mode", 0) == 1 or (
            node.op_type == "AveragePool" and "dilations" in attributes) or attributes.get("storage_order", 0) == 1
    if node.op_type == "Resize":
        nearest = attributes.get("mode", b"nearest") == b"nearest"
        place = attributes.get("coordinate_transformation_mode", b"half_pixel")
        known = (b"asymmetric",) if nearest else (b"half_pixel", b"align_corners")
        return (attributes.get("mode", b"nearest") not in (b"nearest", b"linear") or place not in known or len(node.input) != 3 or
                (nearest and attributes.get("nearest_mode") != b"floor") or {"axes", "antialias", "exclude_outside"} & set(attributes))
    if node.op_type == "ArgMax":
        return attributes.get("select_last_index", 0) == 1
    if node.op_type == "Pad":
        return len(node.input) > 3 or attributes.get("mode") == b"wrap"
    if node.op_type == "ArgMax":
        return attributes.get("select_last_index", 0) == 1
    if node.op_type == "Cast":
        return attributes["to"] not in (1, 7, 11)  # float, int64, double
    if node.op_type in ("GRU", "LSTM"):
        return len(node.input) > 4 or attributes.get("layout", 0) == 1
    return node.op_type == "Transpose" and "perm" not in attributes


def cases():
    """Those of the vectors that are of one operator we use, with numbers as we use them and one output."""
    for folder in sorted(glob.glob(VECTORS + "/test_*")):
        graph = onnx.load(folder + "/model.onnx").graph
        if len(graph.node) > 1 or graph.node[0].op_type not in OPERATORS or len(graph.output) > 1:
            continue
        if any(a.name == "allowzero" for a in graph.node[0].attribute):  # no layer has an extent of 0
            continue
        if unused_form(graph.node[0]):
            continue
        if all(v.type.tensor_type.elem_type in (1, 6, 7, 9) for v in graph.input):  # float, int32, int64, bool
            yield os.path.basename(folder)


def newer_form(node, inputs):
    """What of it opset 14, in which models are exported, cannot say; empty if nothing."""
    if node.op_type == "ReduceMean" and len(inputs) > 1 and np.size(inputs[1]) == 0:
        return "axes that are an empty input"  # all axes, or none: an attribute settles that
    return ""


def main():
    if sys.argv[1] == "--tables":
        results = [check_table(path) for path in sorted(glob.glob(sys.argv[2] + "/*.onnx"))]
        return 0 if results and all(results) else 1
    if sys.argv[1] != "--vectors" and sys.argv[1] != "--cases":
        results = [check(path) for path in sorted(glob.glob(sys.argv[1] + "/*.onnx"))]
        if cv2 is not None:
            print(f"OpenCV {cv2.__version__} ran {len(ran_by_opencv)} of {len(results)}")
        return 0 if results and all(results) and (cv2 is None or ran_by_opencv) else 1
    if not os.path.isdir(VECTORS):
        print("not installed: " + VECTORS + " (Debian: libonnx-testdata)")
        return 77
    if sys.argv[1] == "--cases":
        for name in sys.argv[3:]:
            _, inputs, y = vector(name)
            for i, value in enumerate(inputs):
                np.save(f"{sys.argv[2]}/{name}.{i}.npy", value)
            np.save(f"{sys.argv[2]}/{name}.y.npy", y)
        return 0
    checked, wrong, not_run = set(), [], []
    for name in cases():
        node, inputs, want = vector(name)
        if form := newer_form(node, inputs):
            not_run.append(f"{name} ({form})")
            continue
        checked.add(node.op_type)
        if not (error := error_of(run_node(node, inputs), want)) <= 1e-6:
            wrong.append(f"{name} {error:.1e}")
    missing = sorted(set(OPERATORS) - checked - {"LabelEncoder"})  # of which there are none
    print(f"{len(checked)} operators agree with the vectors; without any: {missing}; wrong: {wrong}")
    if not_run:
        print("not run: " + ", ".join(not_run))
    return 1 if wrong or missing else 0


sys.exit(main())
