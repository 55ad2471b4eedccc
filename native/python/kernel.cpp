// Kernels: prepared by a routine, or a Python function.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>
#include <functional>
#include <tuple>

#include "base/error.h"
#include "base/memory.h"
#include "base/size.h"
#include "base/threads.h"
#include "python/arrays.h"
#include "python/bindings.h"
#include "python/gil.h"
#include "python/stop.h"
#include "runtime/sizes.h"
#include "spi/ukernel.h"

namespace pw::python {
namespace {

thread_local std::exception_ptr python_error;

// Deletes what holds Python objects, from any thread.
template <class T>
void delete_with_gil(T* object) {
  if (!Py_IsInitialized()) return;  // nothing to give back any more
  Locked gil;
  delete object;
}

using ConstantArgs = std::vector<std::pair<std::optional<nb::object>, uint64_t>>;
using ScaleArgs = std::vector<nb::tuple>;

// A scale as Python hands it over: (scale, zero point), or (scale, zero point, element type, axis) with tuples of numbers
// where there is an axis. A scale of 0 says that none is known.
struct ScaleArg {
  std::vector<float> scales;
  std::vector<int32_t> zero_points;
  DType dtype = DType::u8;
  int axis = -1;

  explicit ScaleArg(const nb::tuple& given) {
    if (given.size() != 2 && given.size() != 4) throw Error("a scale: expected 2 or 4 entries, got " + std::to_string(given.size()));
    if (given.size() == 4) dtype = parse_dtype(nb::cast<std::string>(given[2]));
    if (given.size() == 4 && !given[3].is_none()) {
      axis = nb::cast<int>(given[3]);
      scales = nb::cast<std::vector<float>>(given[0]);
      zero_points = nb::cast<std::vector<int32_t>>(given[1]);
      if (axis < 0 || scales.empty() || scales.size() != zero_points.size())
        throw Error("a scale: expected an axis, and as many zero points as scales, got axis " + std::to_string(axis) + ", " +
                    std::to_string(scales.size()) + " and " + std::to_string(zero_points.size()));
    } else if (const float scale = nb::cast<float>(given[0]); scale != 0) {
      scales = {scale};
      zero_points = {nb::cast<int32_t>(given[1])};
    }
  }
  // Writes it to a value; this must outlive the constant.
  void to(Constant& value) const {
    value.dtype = dtype;
    value.axis = axis;
    value.scales = scales;
    value.zero_points = zero_points;
    if (axis < 0 && dtype == DType::u8 && !scales.empty()) {
      value.scale = scales[0];
      value.zero_point = zero_points[0];
    }
  }
};

// What constants point into: it lives as long as the kernels that are prepared with them.
struct Held {
  std::vector<HostArray> arrays;
  std::vector<ScaleArg> scales;
};

std::pair<Constants, std::shared_ptr<Held>> given_constants(const Problem& problem, const ConstantArgs& constants, const ScaleArgs& scales) {
  const size_t entries = problem.in.size() + problem.out.size();
  if (constants.size() != problem.in.size() || (!scales.empty() && scales.size() != entries))
    throw Error("prepare '" + problem.text + "': expected " + std::to_string(problem.in.size()) +
                " constants (none for values), and no scales or " + std::to_string(entries) + ", got " +
                std::to_string(constants.size()) + " and " + std::to_string(scales.size()));
  std::shared_ptr<Held> held(new Held{{}, {scales.begin(), scales.end()}}, delete_with_gil<Held>);
  static const char nothing = 0;
  Constants given;
  for (size_t i = 0; i < constants.size(); ++i) {
    const auto& [array, id] = constants[i];
    if (!array || array->is_none()) {
      given.push_back({});
      continue;
    }
    const std::string what = "constant " + std::to_string(i) + " of '" + problem.text + "'";
    held->arrays.emplace_back(*array, false, what);
    const HostArray& memory = held->arrays.back();
    if (i < problem.in.size() && problem.in[i].constant) {
      const uint64_t expected = bytes_of(problem.in[i].dtype, problem.in[i].shape);
      if (memory.bytes() != expected)
        throw Error(what + ": expected " + std::to_string(expected) + " bytes, got " + std::to_string(memory.bytes()));
    }
    given.push_back({.data = memory.data() ? memory.data() : &nothing, .id = id});
  }
  given.resize(entries);
  for (size_t i = 0; i < held->scales.size(); ++i)
    if (!given[i].data) held->scales[i].to(given[i]);
  return {std::move(given), std::move(held)};
}

KernelHandle prepare_kernel(const std::string& problem_text, const std::string& routine, const std::string& variant,
                            const ConstantArgs& constants, const ScaleArgs& scales) {
  auto [given, arrays] = given_constants(Problem::parse(problem_text), constants, scales);
  CallStop stop;
  try {
    Unlocked unlocked;
    const StopScope scope(&stop);
    PackingRecorder recorder;
    UKernelRecorder taken;
    KernelPtr kernel = prepare(problem_text, routine, variant, given, std::move(arrays));
    std::string device = kernel->device()->name();
    return {std::move(kernel), std::move(device), std::move(recorder.packings), std::move(taken.names)};
  } catch (const Stopped&) {
    stop.raise();
  }
}

// (id, signature, bytes, whether they lie in memory that was offered) of every packing of a kernel.
nb::list packings_of(const KernelHandle& handle) {
  nb::list all;
  for (const auto& [id, signature, buffer] : handle.packings) {
    auto* held = new std::shared_ptr<const Buffer>(buffer);
    nb::capsule owner(held, [](void* p) noexcept { delete static_cast<std::shared_ptr<const Buffer>*>(p); });
    nb::ndarray<nb::numpy, const uint8_t> bytes(buffer->as<uint8_t>(), {buffer->bytes()}, owner);
    all.append(nb::make_tuple(id, signature, bytes, buffer->is_view()));
  }
  return all;
}

void offer(uint64_t id, const std::string& signature, nb::handle array, uint64_t bytes) {
  std::shared_ptr<HostArray> memory(new HostArray(array, false, "packing '" + signature + "'"),
                                    delete_with_gil<HostArray>);
  if (bytes > memory->bytes())
    throw Error("packing '" + signature + "': " + std::to_string(bytes) + " bytes of an array of " +
                std::to_string(memory->bytes()));
  if (reinterpret_cast<uintptr_t>(memory->data()) % 64 != 0)
    throw Error("packing '" + signature + "': its memory is not aligned to 64 bytes");
  const void* data = memory->data();
  offer_packing(id, signature, std::make_shared<const Buffer>(Buffer::view(data, bytes, std::move(memory))));
}

std::vector<std::pair<std::string, std::string>> offers(uint64_t id) {
  static constexpr const char* words[] = {"waiting", "taken", "refused"};
  std::vector<std::pair<std::string, std::string>> all;
  for (const auto& [signature, state] : offered_packings(id)) all.emplace_back(signature, words[static_cast<int>(state)]);
  return all;
}

// One argument of a Python kernel.
struct Spec {
  nb::object dtype, shape;
  uint64_t bytes;
};

struct PythonKernel {
  nb::object callable, array;  // numpy.ndarray
  std::vector<Spec> in, out;
  bool late = false;  // what it returns has sizes that nobody knew before
};

nb::object wrap(const PythonKernel& kernel, const Spec& spec, void* data, int access) {
  nb::object memory = nb::steal(PyMemoryView_FromMemory(static_cast<char*>(data),
                                                        static_cast<Py_ssize_t>(spec.bytes), access));
  if (!memory.is_valid()) nb::raise_python_error();
  return kernel.array(nb::arg("shape") = spec.shape, nb::arg("dtype") = spec.dtype, nb::arg("buffer") = memory);
}

int run_python(void* self, const pw_context* context) {
  const auto& kernel = *static_cast<const PythonKernel*>(self);
  Locked gil;
  try {
    unless_over([&] {
      nb::list inputs, outputs;
      for (size_t i = 0; i < kernel.in.size(); ++i)
        inputs.append(wrap(kernel, kernel.in[i], const_cast<void*>(context->in[i]), PyBUF_READ));
      for (size_t i = 0; i < kernel.out.size(); ++i)
        outputs.append(wrap(kernel, kernel.out[i], context->out[i], PyBUF_WRITE));
      // Nearly all the time is spent in here: nothing is unwound.
      nb::object done = nb::steal(unless_over(
          [&] { return PyObject_CallFunctionObjArgs(kernel.callable.ptr(), inputs.ptr(), outputs.ptr(), nullptr); }));
      if (!done.is_valid()) nb::raise_python_error();
    });
    return 0;
  } catch (...) {
    python_error = std::current_exception();
    return 1;
  }
}

// Puts what a late kernel has returned into memory, and says how large it is.
void place_result(nb::handle result, const Spec& spec, uint32_t output, const pw_context& context, size_t rank) {
  const HostArray array(result, false, "output " + std::to_string(output));
  const nb::tuple shape = nb::cast<nb::tuple>(result.attr("shape"));
  if (nb::len(shape) != rank) throw Error("output " + std::to_string(output) + ": expected rank " + std::to_string(rank));
  int64_t* sizes = context.out_sizes[output];
  uint64_t room = static_cast<uint64_t>(nb::cast<int64_t>(spec.dtype.attr("itemsize")));
  for (size_t axis = 0; axis < rank && room != UINT64_MAX; ++axis)
    if (sizes[axis] < 0 || __builtin_mul_overflow(room, static_cast<uint64_t>(sizes[axis]), &room)) room = UINT64_MAX;
  void* memory = context.out[output];
  if (!memory && context.take) memory = context.take(&context, output, array.bytes());
  if (!memory) throw std::bad_alloc();
  if (array.bytes() > room) throw Error("output " + std::to_string(output) + ": its result is larger than its bounds say");
  if (array.bytes()) std::memcpy(memory, array.data(), array.bytes());
  for (size_t axis = 0; axis < rank; ++axis) sizes[axis] = nb::cast<int64_t>(shape[axis]);
}

int run_late(void* self, const pw_context* context) {
  const auto& kernel = *static_cast<const PythonKernel*>(self);
  Locked gil;
  try {
    unless_over([&] {
      nb::list inputs;
      for (size_t i = 0; i < kernel.in.size(); ++i)
        inputs.append(wrap(kernel, kernel.in[i], const_cast<void*>(context->in[i]), PyBUF_READ));
      nb::object results = nb::steal(
          unless_over([&] { return PyObject_CallFunctionObjArgs(kernel.callable.ptr(), inputs.ptr(), nullptr); }));
      if (!results.is_valid()) nb::raise_python_error();
      if (nb::len(results) != kernel.out.size()) throw Error("a kernel of NumPy's gave another number of outputs");
      for (size_t i = 0; i < kernel.out.size(); ++i)
        place_result(results[i], kernel.out[i], static_cast<uint32_t>(i), *context, nb::len(kernel.out[i].shape));
    });
    return 0;
  } catch (...) {
    python_error = std::current_exception();
    return 1;
  }
}

using SpecArgs = std::vector<std::pair<std::string, std::vector<int64_t>>>;

std::vector<Spec> make_specs(const SpecArgs& args, nb::handle numpy, std::vector<Port>& ports) {
  std::vector<Spec> specs;
  for (const auto& [name, shape] : args) {
    const DType dtype = parse_dtype(name);
    for (int64_t d : shape)
      if (d < 0) throw Error("a Python kernel's shape holds " + std::to_string(d));
    static constexpr const char* numpy_names[] = {"float32", "float64", "float16", "uint16", "int8",   "uint8", "int16",
                                                  "uint16",  "int32",   "uint32",  "int64",  "uint64", "bool"};
    nb::list dims;
    for (int64_t d : shape) dims.append(d);
    const uint64_t bytes = bytes_of(dtype, shape);
    specs.push_back({numpy.attr("dtype")(numpy_names[static_cast<int>(dtype)]), nb::tuple(dims), bytes});
    ports.push_back({bytes, "cpu", shape});
  }
  return specs;
}

// `sizes`: per port along the logical axes, where arrays lie in another order; empty where none does.
KernelHandle python_kernel(nb::object callable, const SpecArgs& in, const SpecArgs& out, bool late,
                           const std::vector<Dims>& sizes) {
  if (!PyCallable_Check(callable.ptr())) throw nb::type_error("a Python kernel needs a callable");
  nb::module_ numpy = nb::module_::import_("numpy");
  std::vector<Port> in_ports, out_ports;
  auto kernel = std::make_unique<PythonKernel>();
  kernel->callable = std::move(callable);
  kernel->array = numpy.attr("ndarray");
  kernel->in = make_specs(in, numpy, in_ports);
  kernel->out = make_specs(out, numpy, out_ports);
  if (!sizes.empty() && sizes.size() != in.size() + out.size()) throw Error("expected sizes for every port, or for none");
  for (size_t i = 0; i < sizes.size(); ++i) (i < in.size() ? in_ports[i] : out_ports[i - in.size()]).sizes = sizes[i];
  pw_kernel raw{};
  raw.size = sizeof raw;
  raw.serial = 1;
  raw.run = late ? run_late : run_python;
  raw.destroy = [](void* self) { delete_with_gil(static_cast<PythonKernel*>(self)); };
  raw.self = kernel.release();
  return {std::make_shared<const PreparedKernel>(raw, cpu_device(), std::move(in_ports), std::move(out_ports), 1),
          "python"};
}

using SizeArgs = std::vector<std::vector<int64_t>>;

// The ports of one side of a kernel at the sizes of one run. Throws Error for sizes that the kernel does not take.
std::vector<Port> ports_at(const PreparedKernel& kernel, bool output, const SizeArgs& sizes) {
  std::vector<Port> ports = output ? kernel.out() : kernel.in();
  const size_t first = output ? kernel.in().size() : 0;
  for (size_t i = 0; i < ports.size() && !sizes.empty(); ++i) {
    const Dims &given = sizes[first + i], &bound = ports[i].sizes;
    const std::string where = "port " + std::to_string(first + i);
    if (given.size() != bound.size())
      throw Error(where + ": expected " + std::to_string(bound.size()) + " sizes, got " + std::to_string(given.size()));
    uint64_t elements = 1, before = 1;
    for (size_t d = 0; d < given.size(); ++d) {
      if (given[d] < 0 || given[d] > bound[d] || (given[d] != bound[d] && !kernel.open(first + i, d)))
        throw Error(where + ": axis " + std::to_string(d) + " has size " + std::to_string(given[d]) + ", expected " +
                    (kernel.open(first + i, d) ? "0 to " : "") + std::to_string(bound[d]));
      elements *= static_cast<uint64_t>(given[d]);
      before *= static_cast<uint64_t>(bound[d]);
    }
    if (before) ports[i].bytes = ports[i].bytes / before * elements;
    ports[i].sizes = given;
  }
  return ports;
}

// The arrays of one side of a kernel, checked against its ports.
std::vector<void*> addresses(std::vector<HostArray>& held, nb::sequence objects, const std::vector<Port>& ports,
                             bool output) {
  const std::string side = output ? "output " : "input ";
  if (nb::len(objects) != ports.size())
    throw Error("expected " + std::to_string(ports.size()) + " " + side + "arrays, got " +
                std::to_string(nb::len(objects)));
  std::vector<void*> found;
  for (nb::handle object : objects) {
    const size_t i = found.size();
    const HostArray& array = held.emplace_back(object, output, side + std::to_string(i));
    if (array.bytes() != ports[i].bytes)
      throw Error(side + std::to_string(i) + ": expected " + std::to_string(ports[i].bytes) + " bytes, got " +
                  std::to_string(array.bytes()));
    found.push_back(array.data());
  }
  return found;
}

void run_kernel(const KernelHandle& handle, nb::sequence inputs, nb::sequence outputs, nb::object workspace,
                int threads, bool apart, const SizeArgs& given) {
  const PreparedKernel& kernel = *handle.kernel;
  const pw_kernel& raw = kernel.raw();
  if (!kernel.device()->host())
    throw Error("a kernel of " + handle.device + " runs on memory of its own; run it in a plan");
  if (threads < 1 || threads > kernel.threads())
    throw Error(std::to_string(threads) + " threads: expected 1 to " + std::to_string(kernel.threads()) +
                ", for which the kernel was prepared");
  std::vector<HostArray> held;
  const size_t count = kernel.in().size() + kernel.out().size();
  if (!given.empty() && given.size() != count)
    throw Error("expected the sizes of " + std::to_string(count) + " ports, got " + std::to_string(given.size()));
  const auto in_ports = ports_at(kernel, false, given), out_ports = ports_at(kernel, true, given);
  held.reserve(count);
  const auto in = addresses(held, inputs, in_ports, false), out = addresses(held, outputs, out_ports, true);
  const HostArray scratch(workspace, true, "workspace");
  if (scratch.bytes() < raw.workspace_bytes || reinterpret_cast<uintptr_t>(scratch.data()) % 64 != 0)
    throw Error("workspace: expected " + std::to_string(raw.workspace_bytes) + " bytes at a multiple of 64, got " +
                std::to_string(scratch.bytes()) + " bytes");
  // The kernel's phases, as a session runs them.
  struct Phases : Stages {
    const pw_kernel& raw;
    const pw_context& context;
    std::atomic<int> code{0};
    Phases(const pw_kernel& raw, const pw_context& context) : raw(raw), context(context) {}
    Gather run(uint32_t stage, Team& team) noexcept override {
      team.phase = stage;
      pw_context own_context = context;
      own_context.team = &team;
      const int own = raw.run(raw.self, &own_context);
      if (own != 0) code = own;
      return raw.phases ? Gather::pieces : Gather::everyone;
    }
  };
  std::vector<Dims> sizes;
  for (const auto* ports : {&in_ports, &out_ports})
    for (const Port& port : *ports) sizes.push_back(port.sizes);
  std::vector<int64_t*> lists;
  for (Dims& one : sizes) lists.push_back(one.data());
  const pw_context context{.size = sizeof context, .step = 0, .in = in.data(), .out = out.data(),
                           .in_sizes = lists.data(), .out_sizes = lists.data() + kernel.in().size(),
                           .workspace = scratch.data(), .team = nullptr, .queue = nullptr,
                           .take = nullptr, .owner = nullptr};
  Phases phases(raw, context);
  {
    Unlocked unlocked;
    const auto stages = std::max<uint32_t>(1, static_cast<uint32_t>(raw.phases));
    if (apart && raw.phases && !kernel.serial()) pw::apart(threads, 0, stages, phases);
    else parallel(kernel.serial() ? 1 : threads, 0, stages, phases);
  }
  const int code = phases.code;
  if (const std::exception_ptr error = take_python_error()) std::rethrow_exception(error);
  if (code != 0) throw std::runtime_error("the kernel " + failure_text(code));
}

Memory first_memory(const pw_kernel& raw, uint64_t phase, uint32_t index, uint32_t count) {
  Memory memory;
  if (raw.reads_first) raw.reads_first(raw.self, phase, index, count, &memory.data, &memory.bytes);
  return memory;
}

nb::bytes reads_first(const KernelHandle& handle, uint64_t phase, uint32_t index, uint32_t count) {
  if (index >= count) throw Error("thread " + std::to_string(index) + " of " + std::to_string(count));
  const Memory memory = first_memory(handle.kernel->raw(), phase, index, count);
  return nb::bytes(memory.data, memory.bytes);
}

// The first thread of which team, in which phase, reads first what is neither fenced memory nor one of the constants; ""
// where none does.
std::string reads_astray(const KernelHandle& handle, const std::vector<uint32_t>& counts, nb::sequence constants) {
  std::vector<HostArray> held;
  held.reserve(nb::len(constants));
  for (nb::handle constant : constants) held.emplace_back(constant, false, "constant " + std::to_string(held.size()));
  const pw_kernel& raw = handle.kernel->raw();
  Memory known;  // the last that was found to be owned
  const auto owned = [&](const Memory& memory) {
    if (memory.bytes == 0 || memory.within(known)) return true;
    known = memory;
    return fenced(memory) || std::any_of(held.begin(), held.end(), [&](const HostArray& array) {
             return memory.within({array.data(), array.bytes()});
           });
  };
  for (uint64_t phase = 0; phase < std::max<uint64_t>(1, raw.phases); ++phase)
    for (uint32_t count : counts)
      for (uint32_t index = 0; index < count; ++index)
        if (const Memory memory = first_memory(raw, phase, index, count); !owned(memory))
          return "phase " + std::to_string(phase) + ", thread " + std::to_string(index) + " of " + std::to_string(count) +
                 " reads first " + std::to_string(memory.bytes) + " bytes at " +
                 std::to_string(reinterpret_cast<uintptr_t>(memory.data)) + ", which is not memory of the kernel";
  return "";
}

}  // namespace

namespace {

std::function<KernelPtr(const int64_t*)> called_maker(nb::handle how, size_t sizes) {
  std::shared_ptr<nb::object> call(new nb::object(nb::borrow(how)), delete_with_gil<nb::object>);
  return [call, sizes](const int64_t* values) -> KernelPtr {
    Locked gil;
    nb::list all;
    for (size_t i = 0; i < sizes; ++i) all.append(values[i]);
    nb::object made =
        nb::steal(unless_over([&] { return PyObject_CallFunctionObjArgs(call->ptr(), all.ptr(), nullptr); }));
    if (!made.is_valid()) nb::raise_python_error();
    const KernelHandle* handle = nullptr;
    if (!nb::try_cast(made, handle) || !handle)
      throw nb::type_error("what makes the kernel of a step gave something else: expected a Kernel");
    return handle->kernel;
  };
}

}  // namespace

std::function<KernelPtr(const int64_t*)> kernel_maker(nb::handle how, size_t sizes) {
  if (PyCallable_Check(how.ptr())) return called_maker(how, sizes);
  auto [texts, routine, variant, constants, scales, other] =
      nb::cast<std::tuple<std::vector<std::string>, std::string, std::string, ConstantArgs, ScaleArgs, nb::object>>(how);
  if (texts.size() != sizes + 1) throw Error("the text of a kernel's problem has other parts than sizes");
  const auto text_at = [texts = std::move(texts)](const int64_t* values) {
    std::string text = texts[0];
    for (size_t i = 1; i < texts.size(); ++i) text += std::to_string(values[i - 1]) + texts[i];
    return text;
  };
  const std::vector<int64_t> ones(sizes, 1);
  auto [given, arrays] = given_constants(Problem::parse(text_at(ones.data())), constants, scales);
  const auto otherwise = other.is_none() ? std::function<KernelPtr(const int64_t*)>{} : called_maker(other, sizes);
  return [text_at, routine = routine, variant = variant, given = std::move(given), arrays = std::move(arrays),
          otherwise](const int64_t* values) -> KernelPtr {
    const std::string text = text_at(values);
    try {
      Problem::shared(text);
    } catch (const Error& e) {  // the text was a problem before these sizes were put into it
      throw Unfit(e.what());
    }
    try {
      return prepare(text, routine, variant, given, arrays);
    } catch (const Declined& e) {
      if (!otherwise) throw Unfit(e.what());
    }
    return otherwise(values);
  };
}

std::exception_ptr take_python_error() { return std::exchange(python_error, nullptr); }

void bind_kernel(nb::module_& m) {
  nb::class_<KernelHandle>(m, "Kernel", "A routine bound to one problem, or a Python function; opaque.")
      .def_prop_ro("device", [](const KernelHandle& k) { return k.device; })
      .def_prop_ro("packed_bytes", [](const KernelHandle& k) { return k.kernel->raw().packed_bytes; })
      .def_prop_ro("workspace_bytes", [](const KernelHandle& k) { return k.kernel->raw().workspace_bytes; })
      .def_prop_ro("packings", packings_of)
      .def_prop_ro("ukernels", [](const KernelHandle& k) { return k.ukernels; },
                   "Names of the micro-kernels that it runs on; none for a device of a plugin.")
      .def_prop_ro("phases", [](const KernelHandle& k) { return k.kernel->raw().phases; },
                   "Loops of pieces that a run is; 0: every thread of the team comes to it, once.")
      .def_prop_ro("serial", [](const KernelHandle& k) { return k.kernel->serial(); })
      .def_prop_ro("host_memory", [](const KernelHandle& k) { return k.kernel->device()->host(); })
      .def("run", run_kernel, nb::arg("inputs"), nb::arg("outputs"), nb::arg("workspace"), nb::arg("threads"),
           nb::arg("apart") = false, nb::arg("sizes") = SizeArgs{},
           "Runs the kernel once, for tests. `workspace`: workspace_bytes or more, at a multiple of 64; nothing else is "
           "handed to the kernel. `threads`: at most those of its problem. `apart`: in kernels with phases each does its "
           "own share of the pieces and nothing else, one after another. `sizes`: those of the inputs, then of the outputs, "
           "in this run; [] for those of the problem. Raises ValueError for arrays of other sizes and for sizes that the "
           "kernel does not take, RuntimeError when the kernel fails.")
      .def("open", [](const KernelHandle& k, size_t port, size_t axis) { return k.kernel->open(port, axis); },
           nb::arg("port"), nb::arg("axis"),
           "Whether a run may have fewer along this axis than the problem. Ports: inputs, then outputs.")
      .def("reads_first", reads_first, nb::arg("phase"), nb::arg("index"), nb::arg("count"),
           "What thread `index` of `count` reads first in a phase, of the kernel's own memory: what is fetched while it "
           "waits for the step before. Raises ValueError where there is no such thread.")
      .def("reads_astray", reads_astray, nb::arg("counts"), nb::arg("constants"),
           "For tests, of a kernel prepared behind the fence: which thread of a team of `counts` threads reads first, in "
           "which phase, what is not memory of the library or one of the constants; \"\" where none does.");
  m.def("raise_fence", raise_fence, nb::arg("up"),
        "For tests: while the fence is up, a page that nobody may touch lies behind all memory that the library "
        "allocates, and it holds huge numbers at first.");
  m.def("prepare", prepare_kernel, nb::arg("problem"), nb::arg("routine"), nb::arg("variant"), nb::arg("constants"),
        nb::arg("scales") = ScaleArgs{},
        "Binds a routine to a problem. `constants`: one (array or None, id) per problem input; the kernel keeps the "
        "arrays. `scales`: per input, then per output, of values that may lie in integers, (scale, zero point) in u8, or "
        "(scale, zero point, element type, axis or None), with tuples where there is an axis; (0, 0) where not known, [] "
        "for none. Raises ValueError when the routine declines, MemoryError.");
  m.def("offer_packing", offer, nb::arg("id"), nb::arg("signature"), nb::arg("array"), nb::arg("bytes"),
        "Offers a packed constant made earlier: kernels prepared later read it where it lies, which must stay as it is.");
  m.def("withdraw_packings", withdraw_packings, nb::arg("id"), "Offers the packings of a constant no more.");
  m.def("offered_packings", offers, nb::arg("id"),
        "(signature, waiting | taken | refused for its size) of all that is offered for a constant.");
  m.def("python_kernel", python_kernel, nb::arg("callable"), nb::arg("in_specs"), nb::arg("out_specs"),
        nb::arg("late") = false, nb::arg("sizes") = std::vector<Dims>{},
        "A kernel that calls callable(inputs, outputs) with NumPy arrays over the values' memory, valid during the "
        "call only; it fills the outputs in place. Specs are (dtype, shape); bf16 comes as uint16. `late`: it "
        "calls callable(inputs) instead, which gives contiguous arrays of sizes that nobody knew before. `sizes`: those of "
        "inputs and outputs along their logical axes, where arrays lie in another order.");
}

}  // namespace pw::python
