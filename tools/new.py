#!/usr/bin/env python3
"""Begin a new thing of its own file. It is found by being there; nothing else is edited.

    python tools/new.py routine conv2/ring        native/routines/conv2/ring.cpp
    python tools/new.py ukernel avx2/gemm_f32_4x24  native/ukernels/avx2/gemm_f32_4x24.cpp
    python tools/new.py activation soft_clip      native/ukernels/activations/soft_clip.inc, and the layer kind's files
    python tools/new.py layer swish2              src/pathweave/layers/swish2.py, its cases, its twin in ONNX
    python tools/new.py operator swish2           the same, and the operator in ONNX that becomes it
    python tools/new.py importer toy              src/pathweave/importers/toy.py
    python tools/new.py pass merge_pads           src/pathweave/passes/merge_pads.py
    python tools/new.py region pad_pool           src/pathweave/regions/pad_pool.py
    python tools/new.py command diff              src/pathweave/cli/diff.py
    python tools/new.py device toy --into ..      ../toy: an installable package with a device, one file of C
    python tools/new.py plugin toy --into ..      ../toy: the same, and a layer kind with its cases; docs/plugins.md

What it writes builds, passes the checks and declines or does nothing until you fill it in.
"""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path

#: Where the tiers and the contracts of micro-kernels are.
UKERNELS = Path(__file__).resolve().parents[1] / "native/ukernels"

#: The package that `device` and `plugin` begin with, and its name there. It is whole: one can build and install it as it is.
PLUGIN, PLUGIN_NAME = Path(__file__).resolve().parent / "plugin", "mything"
#: What a package with a device alone has instead: its routine is one of relu.
DEVICE_LAYER = {f'#define LAYER "{PLUGIN_NAME}"': '#define LAYER "relu"',
                "return x * fabsf(x);": "return x < 0.0f ? 0.0f : x;", "#include <math.h>\n": "",
                f"--routine {PLUGIN_NAME}/simple": "--routine relu/simple"}

ROUTINE = '''\
// {layer}/{algorithm}: say here in one line how it computes, and where the method comes from.
#include "spi/routine.h"

namespace pw {{
namespace {{

class {Class}Kernel : public PieceKernel {{
 public:
  {Class}Kernel(const Problem& problem, const Constants&) : count_(problem.out[0].count()) {{}}
  // Every thread of the team calls this; all work lies in bodies of team.each, see docs/routines.md.
  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {{
    const auto* x = static_cast<const float*>(in[0]);
    auto* y = static_cast<float*>(out[0]);
    team.each(count_, 4096, [&](int64_t first, int64_t last) {{
      for (int64_t i = first; i < last; ++i) y[i] = x[i];
    }});
  }}

 private:
  int64_t count_;
}};

class {Class} : public Routine {{
 public:
  {Class}() : Routine({{.id = "{layer}/{algorithm}:f32:nhwc:cpu", .accuracy = Accuracy::strict}}) {{}}
  Verdict accepts(const Problem&) const override {{ return Verdict::no("it is not written yet"); }}
  Ports ports(const Problem& problem) const override {{ return uniform_ports(problem, Layout::nhwc); }}
  std::unique_ptr<Kernel> prepare(const Problem& problem, const std::string&, const Constants& constants) const override {{
    return std::make_unique<{Class}Kernel>(problem, constants);
  }}
}};

}}  // namespace

namespace PW_COLLECT {{
void collect(Collector& c) {{ c.add<{Class}>(); }}
}}  // namespace PW_COLLECT

}}  // namespace pw
'''

UKERNEL = '''\
// {stem} for {isa}: say here in one line which tile it computes, and how. The contract: ukernels/kinds/{kind}.h.
#include "spi/ukernel.h"
#include "ukernels/kinds/{kind}.h"

namespace pw {{
namespace {{

// A plain function over pointers, and a constant of the contract's struct that holds it. No STL, no static initialiser, no
// inline function from outside: this file is compiled for one instruction set, and the linker must not keep it for others.

}}  // namespace

// An entry is {{PW_KIND_{KIND}, "{stem}__{isa}", &kTable}}; the one without a kind ends the table. Routines that enumerate
// {kind} gain a variant per entry.
extern const UKernel PW_UKERNELS[] = {{{{nullptr, nullptr, nullptr}}}};
}}  // namespace pw
'''

LAYER = '''\
"""{name}: say in one line what it computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..net.net import TensorSpec
from . import LayerKind
from ._common import FLOATS, check_dtype, take


class {Class}(LayerKind):
    """y = x. Source: say where the definition stands."""

    name = "{name}"
    attributes: dict[str, Any] = {{}}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        check_dtype("x", x, FLOATS)
        return [x]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        return [x.copy()]
'''

ACTIVATION = '''\
// Say here what it computes. x: a vector; a and b: the parameters, in the order of the layer kind's attributes.
PW_ACTIVATION({name}, .parameters = {{"alpha"}}) {{ return select(x < 0.0f, x * a, x); }}
'''

ACTIVATION_LAYER = '''\
"""{name}: say in one line what it computes."""

from __future__ import annotations

import numpy as np

from .activation import Activation


class {Class}(Activation):
    """x where x >= 0, else alpha x. Source: say where the definition stands."""

    name = "{name}"
    attributes = {{"alpha": 0.01}}

    @staticmethod
    def function(x: np.ndarray, alpha: float) -> np.ndarray:
        return np.where(x >= 0, x, alpha * x)
'''

ACTIVATION_TWIN = '''\
"""{name} in ONNX."""

from __future__ import annotations

OPERATORS = {{"{name}": "LeakyRelu"}}
'''

CASES = '''\
"""Cases of {name}."""

from __future__ import annotations

from .. import case

CASES = [case("{name}", shape) for shape in ((1,), (3, 17), (2, 3, 5, 7))]
'''

TWIN = '''\
"""{name} in ONNX."""

from __future__ import annotations

OPERATORS = {{"{name}": "Identity"}}
'''

OPERATOR = '''\
"""{Class}: say in one line which operator of ONNX becomes {name}, of which opsets."""

from __future__ import annotations

from ..node import Node


def {name}(n: Node) -> None:
    """Say what is special about its attributes; what is not read here is refused."""
    n.required(1)
    n.emit("{name}", [n.input(0)], last=True)


OPERATORS = {{"{Class}": {name}}}
'''

IMPORTER = '''\
"""Importer of {name} models: say in one line what they are, and where the format is written down.

As it stands: a first line "{name} 1", then JSON: "inputs" {{name: [dtype, dims]}}, "constants" {{name: [dtype, numbers]}},
"nodes" [{{"op", "name", "inputs", "outputs", "attributes"}}], "outputs" [names].
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FileFormatError
from ..net.floats import HALVES
from ..net.format import DTYPES, numpy_dtype
from ..net.net import Model, TensorSpec
from . import types
from .builder import Builder, Node
from .conversion import Conversion
from .source import opened

#: What messages say of files that this importer reads.
EXPECTED = "a {name} model (*.{name})"
FIRST_LINE = b"{name} 1\\n"


def recognises(head: bytes, path: Path | None = None) -> bool:
    """True for the beginning of such a file. It must not be true for files of other formats."""
    return head.startswith(FIRST_LINE)


def read(source: str | os.PathLike | bytes) -> Model:
    """Read a model from a path or from bytes. Parameters of this function become options of `load`.

    Raises UnsupportedOperatorError (with all operators that are not covered), FileFormatError, ModelError.
    """
    data, where, _ = opened(source)
    try:
        graph = json.loads(data[len(FIRST_LINE):])
        inputs = {{name: _spec(dtype, dims) for name, (dtype, dims) in graph["inputs"].items()}}
        constants = {{name: (np.array(numbers, _array_type(dtype)), dtype)
                     for name, (dtype, numbers) in graph["constants"].items()}}
        nodes, outputs = [_fields(node) for node in graph["nodes"]], list(map(str, graph["outputs"]))
    except (ValueError, TypeError, LookupError, AttributeError) as e:
        raise FileFormatError(f"{{where}}: malformed {name} model: {{type(e).__name__}}: {{e}}; expected {{EXPECTED}}") from e
    names = {{v for _, _, reads, makes, _ in nodes for v in (*reads, *makes)}} | set(constants)
    builder = Builder(inputs, names, {{*outputs, *(v for _, _, reads, _, _ in nodes for v in reads)}})
    for name, (array, dtype) in constants.items():
        builder.add_stored(name, array, dtype)
    types.enter(builder)
    conversion = Conversion(builder, OPERATORS, [name for _, name, *_ in nodes])
    for i, (op, name, reads, makes, attributes) in enumerate(nodes):
        conversion.add(Node(op, conversion.name(name, op, i), reads, makes, attributes, builder))
    conversion.finish(where)
    types.leave(builder, dict.fromkeys(outputs))
    return Model({{"main": builder.to_net(outputs, where)}}, {{"format": "{name}"}}, states=builder.states)


def _fields(node: dict[str, Any]) -> tuple[str, str, list[str], list[str], dict[str, Any]]:
    return (str(node["op"]), str(node.get("name", "")), list(map(str, node["inputs"])), list(map(str, node["outputs"])),
            dict(node.get("attributes", {{}})))


def _spec(dtype: str, dims: list[int | str]) -> TensorSpec:
    """A dimension is a size, or a symbol that takes one at each call."""
    if dtype not in DTYPES or not all(isinstance(d, str) and d or type(d) is int and d >= 0 for d in dims):
        raise ValueError(f"{{dtype}} {{dims}} is no element type with sizes of 0 or more, or symbols")
    return TensorSpec(dtype, tuple(dims))


def _array_type(dtype: str) -> str:
    """The NumPy type of a constant; float16 and bfloat16 are handed on in float32, in which a net computes them."""
    return numpy_dtype("f32" if dtype in HALVES else dtype)


def relu(n: Node) -> None:
    """max(x, 0). A function per operator: it reads attributes and inputs, and emits layers; the last makes the output."""
    n.required(1)
    n.emit("relu", [n.input(0)], last=True)


#: Operator -> its function. In a folder of their own (ops/FAMILY.py) `conversion.operator_table` collects such tables.
OPERATORS = {{"relu": relu}}
'''

REGION = '''\
"""{name}: say in one line which layers a routine may compute together, and why that pays."""

from __future__ import annotations

from collections.abc import Iterator

from ..net.net import Net
from . import Region


def find(net: Net) -> Iterator[Region]:
    """Layers whose inner values nobody else reads. The kind of the layer that stands for them has a file of its own."""
    yield from ()
'''

PASS = '''\
"""{name}: say in one line what is rewritten, and why that keeps the meaning."""

from __future__ import annotations

from ._graph import Graph

order = 90
needs_shapes = False


def apply(graph: Graph) -> bool:
    """True where something changed; called again until nothing does."""
    return False
'''

COMMAND = '''\
"""pathweave {name}: say in one line what it shows or does."""

from __future__ import annotations

from ._options import Json, ModelPath, load_model
from ._output import print_json

ORDER = 100


def command(model: ModelPath, json: Json = False) -> None:
    """Say here what the help shows."""
    loaded = load_model(model)
    facts = {{"model": model, "layers": len(loaded.main.layers)}}
    if json:
        print_json(facts)
    else:
        print(f"{{model}}: {{facts['layers']}} layers")
'''


def files(what: str, name: str) -> dict[str, str]:
    """Path below the root -> contents of the files of a new thing. Raises ValueError for a bad name or kind."""
    word = r"[a-z][a-z0-9_]*"
    pair = {"routine": "LAYER/ALGORITHM", "ukernel": "TIER/KIND_TILE"}.get(what)
    if not re.fullmatch(f"{word}/{word}" if pair else word, name):
        form = pair or "a word"
        raise ValueError(f"{name!r}: expected {form} in lower case, digits and underscores")
    class_ = "".join(part.capitalize() for part in name.rpartition("/")[2].split("_"))
    if what == "routine":
        layer, _, algorithm = name.partition("/")
        return {f"native/routines/{layer}/{algorithm}.cpp": ROUTINE.format(layer=layer, algorithm=algorithm, Class=class_)}
    if what == "ukernel":
        return _ukernel(*name.split("/"))
    if what in ("layer", "operator"):
        own = {f"src/pathweave/importers/onnx/ops/{name}.py": OPERATOR.format(name=name, Class=class_)}
        return {f"src/pathweave/layers/{name}.py": LAYER.format(name=name, Class=class_),
                f"src/pathweave/testing/cases/{name}.py": CASES.format(name=name),
                f"tests/unit/layer_oracle/{name}.py": TWIN.format(name=name), **(own if what == "operator" else {})}
    if what == "activation":
        return {f"native/ukernels/activations/{name}.inc": ACTIVATION.format(name=name),
                f"src/pathweave/layers/{name}.py": ACTIVATION_LAYER.format(name=name, Class=class_),
                f"src/pathweave/testing/cases/{name}.py": CASES.format(name=name),
                f"tests/unit/layer_oracle/{name}.py": ACTIVATION_TWIN.format(name=name)}
    if what == "importer":
        return {f"src/pathweave/importers/{name}.py": IMPORTER.format(name=name)}
    if what == "region":
        return {f"src/pathweave/regions/{name}.py": REGION.format(name=name)}
    if what == "pass":
        return {f"src/pathweave/passes/{name}.py": PASS.format(name=name)}
    if what == "command":
        return {f"src/pathweave/cli/{name}.py": COMMAND.format(name=name)}
    if what in ("device", "plugin"):
        raise ValueError(f"{what}: it begins a package outside of this repository; say where: --into FOLDER")
    raise ValueError(f"{what!r}: expected routine, ukernel, activation, layer, operator, importer, pass, region, command, "
                     "device or plugin")


def _ukernel(isa: str, stem: str) -> dict[str, str]:
    """The file of a micro-kernel. Raises ValueError for a tier or a kind that is not there."""
    tiers = sorted(p.name for p in UKERNELS.iterdir() if p.is_dir() and p.name not in ("kinds", "body", "tiers", "activations"))
    kinds = sorted((p.stem for p in (UKERNELS / "kinds").glob("*.h")), key=len, reverse=True)
    kind = next((k for k in kinds if stem == k or stem.startswith(f"{k}_")), None)
    if isa not in tiers or kind is None:
        raise ValueError(f"{isa}/{stem}: expected one of {', '.join(tiers)}, and a name that begins with one of "
                         f"{', '.join(sorted(kinds))}; a new kind is a header of native/ukernels/kinds")
    text = UKERNEL.format(isa=isa, stem=stem, kind=kind, KIND=kind.upper())
    return {f"native/ukernels/{isa}/{stem}.cpp": text}


def package(what: str, name: str) -> dict[str, str]:
    """Path -> contents of the files of a package outside of the repository: `device`, or `plugin`. Raises ValueError."""
    if not re.fullmatch(r"[a-z][a-z_]*", name) or keyword.iskeyword(name) or name == "pathweave":
        raise ValueError(f"{name!r}: expected a word in lower case and underscores, which is no word of Python: the package, "
                         f"its layer kind and its device {name}0 are called by it")
    found = {}
    for path in sorted(p for p in PLUGIN.rglob("*") if p.is_file() and p.suffix in (".py", ".c", ".toml", ".txt", ".md")):
        place, text = path.relative_to(PLUGIN), path.read_text(encoding="utf-8")
        if what == "device":
            if {"layers", "cases"} & set(place.parts):
                continue
            for old, new in DEVICE_LAYER.items():
                text = text.replace(old, new)
        found[f"{name}/{_renamed(place.as_posix(), name)}"] = _renamed(text, name)
    return found


def _renamed(text: str, name: str) -> str:
    class_ = "".join(part.capitalize() for part in name.split("_"))
    return text.replace(PLUGIN_NAME.capitalize(), class_).replace(PLUGIN_NAME, name)


def main(arguments: list[str], root: Path = Path(__file__).resolve().parents[1]) -> int:
    """Exit code; existing files are never overwritten."""
    outside = len(arguments) == 4 and arguments[0] in ("device", "plugin") and arguments[2] == "--into"
    if len(arguments) != 2 and not outside:
        print(__doc__)
        return 2
    try:
        new = package(*arguments[:2]) if outside else files(*arguments)
        root = Path(arguments[3]) if outside else root
    except ValueError as e:
        print(f"new: {e}", file=sys.stderr)
        return 2
    there = [p for p in new if (root / p).exists()]
    if there:
        print(f"new: {', '.join(there)} exists already", file=sys.stderr)
        return 1
    for path, text in new.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
