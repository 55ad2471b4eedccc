// Placement, plan and session.
#include "runtime/plan.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>

#include "base/error.h"
#include "python/arrays.h"
#include "python/bindings.h"
#include "python/gil.h"
#include "python/stop.h"
#include "runtime/session.h"
#include "spi/failures.h"

namespace pw::python {
namespace {

using PlaceStepArgs = std::tuple<std::vector<int>, std::vector<int>, std::vector<ShareText>, std::vector<ReuseText>>;
using StepArgs = std::tuple<std::string, nb::object, std::vector<int>, std::vector<int>, std::vector<ShareText>,
                            std::vector<ReuseText>>;

nb::list spots(const Placement& placement) {
  nb::list all;
  for (const Spot& s : placement.values) all.append(nb::make_tuple(s.root, s.offset, where_name(s.where)));
  return all;
}

nb::dict place_values(std::vector<uint64_t> bytes, std::vector<int> device, const std::vector<PlaceStepArgs>& steps,
                      std::vector<int> inputs, std::vector<int> outputs) {
  PlaceGraph graph{std::move(bytes), std::move(device), {}, std::move(inputs), std::move(outputs)};
  for (const auto& [in, out, share, reuse] : steps) graph.steps.push_back({in, out, shares(share), reuses(reuse)});
  check(graph);
  const Placement placement = place(graph);
  nb::dict d;
  d["values"] = spots(placement);
  d["arena"] = placement.arena;
  d["peak"] = placement.peak;
  d["unshared"] = placement.unshared;
  return d;
}

// (element bytes, sizes per axis, whether no bound is known) of a value whose size is known when the plan runs.
using OpenValueArgs = std::tuple<uint32_t, std::vector<int>, bool>;
// (word, a, b) of an operation on sizes.
using SizeArgs = std::tuple<std::string, int64_t, int64_t>;
// (operation, target, loop, axis, count, (counted, tested, reversed))
using ControlArgs = std::tuple<std::string, int, int, int, int, std::tuple<bool, bool, bool>>;
// (output, axis, symbol)
using SetArgs = std::tuple<int, int, int>;
// (sizes, what gives a kernel for them: a function, or (parts of a problem's text, routine, variant, constants,
// scales, a function for sizes that the routine declines or None))
using MakerArgs = std::pair<std::vector<int>, nb::object>;

// ([(left, word, right)] of which one must hold, what that is for people)
using CheckArgs = std::pair<std::vector<std::tuple<int, std::string, int>>, std::string>;

int word_of(const char* const* words, int count, const std::string& word) {
  for (int i = 0; i < count; ++i)
    if (word == words[i]) return i;
  throw Error("'" + word + "' is no operation of a plan");
}

SizeProgram size_program(const std::vector<SizeArgs>& args) {
  static constexpr const char* words[] = {"number", "symbol", "add", "multiply", "divide", "least", "most"};
  std::vector<SizeOp> ops;
  for (const auto& [word, a, b] : args) ops.push_back({static_cast<SizeOp::Kind>(word_of(words, 7, word)), a, b});
  return SizeProgram(std::move(ops));
}

void set_control(PlanStep& step, const ControlArgs& args) {
  static constexpr const char* words[kOps] = {"kernel", "copy", "branch", "jump", "loop", "again", "rounds", "take", "append"};
  const auto& [word, target, loop, axis, count, flags] = args;
  step.op = static_cast<Op>(word_of(words, kOps, word));
  step.target = target;
  step.loop = loop;
  step.axis = axis;
  step.count = count;
  std::tie(step.counted, step.tested, step.reversed) = flags;
}

SizeCheck size_check(const CheckArgs& args) {
  static constexpr const char* words[] = {"==", ">=", "divides"};
  SizeCheck check{{}, args.second};
  for (const auto& [left, word, right] : args.first)
    check.any.push_back({static_cast<SizeRelation::Kind>(word_of(words, 3, word)), left, right});
  return check;
}

template <class T>
T& at(std::vector<T>& all, int index, const char* what) {
  if (index < 0 || index >= static_cast<int>(all.size()))
    throw Error(std::string(what) + " " + std::to_string(index) + " does not exist");
  return all[static_cast<size_t>(index)];
}

std::shared_ptr<Plan> make_plan(const std::vector<std::pair<uint64_t, std::string>>& values,
                                const std::vector<StepArgs>& steps, std::vector<int> inputs, std::vector<int> outputs,
                                int threads, const std::vector<SizeArgs>& sizes, const std::map<int, OpenValueArgs>& open,
                                const std::map<int, ControlArgs>& control, const std::map<int, std::vector<SetArgs>>& sets,
                                const std::map<int, MakerArgs>& makers, const std::vector<int>& opens, size_t given,
                                std::vector<int> late, std::vector<int64_t> most,
                                const std::map<int, std::vector<CheckArgs>>& checks) {
  std::vector<PlanValue> plan_values;
  for (const auto& [bytes, device] : values) plan_values.push_back({bytes, device});
  std::vector<PlanStep> plan_steps;
  for (const auto& [label, kernel, in, out, share, reuse] : steps)
    plan_steps.push_back({label, kernel.is_none() ? nullptr : nb::cast<const KernelHandle&>(kernel).kernel, in, out,
                          shares(share), reuses(reuse)});
  for (const auto& [value, args] : open) {
    PlanValue& v = at(plan_values, value, "value");
    std::tie(v.element, v.axes, v.pooled) = args;
  }
  for (const auto& [step, args] : control) set_control(at(plan_steps, step, "step"), args);
  for (const auto& [step, args] : sets)
    for (const auto& [out, axis, symbol] : args) at(plan_steps, step, "step").sets.push_back({out, axis, symbol});
  std::map<PyObject*, KernelMaker> groups;  // steps whose maker is one object make equal kernels
  for (const auto& [step, args] : makers) {
    KernelMaker& group = groups[args.second.ptr()];
    if (!group.make) group = {{}, kernel_maker(args.second, args.first.size()), step};
    at(plan_steps, step, "step").maker = std::make_shared<const KernelMaker>(KernelMaker{args.first, group.make, group.group});
  }
  for (const auto& [step, args] : checks)
    for (const CheckArgs& check : args) at(plan_steps, step, "step").checks.push_back(size_check(check));
  for (int step : opens) at(plan_steps, step, "step").opens = true;
  return std::make_shared<Plan>(std::move(plan_values), std::move(plan_steps), std::move(inputs), std::move(outputs), threads,
                                PlanSizes{size_program(sizes), given, std::move(most), std::move(late)});
}

uint64_t workspace_bytes(const Plan& plan) {
  uint64_t sum = 0;
  for (uint64_t bytes : plan.workspace()) sum += bytes;
  return sum;
}

// Of arenas and workspaces, what lies in memory of devices.
uint64_t elsewhere_bytes(const Plan& plan) {
  uint64_t sum = 0;
  for (size_t d = 0; d < plan.devices().size(); ++d)
    if (!plan.devices()[d]->host()) sum += plan.placement().arena[d] + plan.workspace()[d];
  return sum;
}

// A call's arrays, checked against the plan.
struct Arrays {
  std::vector<HostArray> held;
  std::vector<const void*> in;
  std::vector<void*> out;
};

void add(Arrays& arrays, nb::handle object, bool output, size_t index, uint64_t expected) {
  const std::string what = (output ? "output " : "input ") + std::to_string(index);
  arrays.held.emplace_back(object, output, what);
  const HostArray& array = arrays.held.back();
  if (array.bytes() != expected)
    throw Error(what + ": expected " + std::to_string(expected) + " bytes, got " + std::to_string(array.bytes()));
  if (output) arrays.out.push_back(array.data());
  else arrays.in.push_back(array.data());
}

// Outputs are written while inputs are still read. In the order of their addresses, so that many arrays take little longer.
// `grown`: inputs that are outputs as well.
void check_apart(const Arrays& arrays, const std::vector<std::pair<size_t, size_t>>& grown) {
  struct Range {
    const char *first, *last;
    size_t array;
  };
  const size_t inputs = arrays.in.size();
  std::vector<Range> ranges;
  for (size_t i = 0; i < arrays.held.size(); ++i) {
    const auto* first = static_cast<const char*>(arrays.held[i].data());
    const bool is_input = std::any_of(grown.begin(), grown.end(), [&](const auto& g) { return inputs + g.second == i; });
    if (arrays.held[i].bytes() && !is_input) ranges.push_back({first, first + arrays.held[i].bytes(), i});
  }
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return std::less<>()(a.first, b.first); });
  // The one of all before, and the output among them, that ends last.
  const Range *any = nullptr, *output = nullptr;
  const auto later = [](const Range* a, const Range& b) { return a && std::less<>()(b.last, a->last) ? a : &b; };
  for (const Range& r : ranges) {
    const bool written = r.array >= inputs ||
                         std::any_of(grown.begin(), grown.end(), [&](const auto& g) { return g.first == r.array; });
    const Range* before = written ? any : output;
    if (before && std::less<>()(r.first, before->last)) {
      const size_t i = std::min(r.array, before->array), j = std::max(r.array, before->array);
      const auto name = [&](size_t a) {
        return a < inputs ? "input " + std::to_string(a) : "output " + std::to_string(a - inputs);
      };
      throw Error(name(j) + " shares memory with " + name(i));
    }
    any = later(any, r);
    if (written) output = later(output, r);
  }
}

// The plan's sizes where a call gives these.
std::vector<int64_t> results_at(const Plan& plan, const std::vector<int64_t>& sizes) {
  const SizeProgram& program = plan.sizes().program;
  if (sizes.size() != plan.sizes().given)
    throw Error("expected " + std::to_string(plan.sizes().given) + " sizes, got " + std::to_string(sizes.size()));
  std::vector<int64_t> results(program.count());
  for (size_t i = 0; i < program.symbols().size(); ++i) {
    const int symbol = program.symbols()[i];
    results[static_cast<size_t>(symbol)] = i < sizes.size() ? sizes[i] : program[static_cast<size_t>(symbol)].a;
  }
  program.evaluate(results.data());
  return results;
}

// Bytes that each value has.
std::vector<uint64_t> bytes_at(const Plan& plan, const std::vector<int64_t>& results) {
  std::vector<uint64_t> bytes;
  for (const PlanValue& value : plan.values()) {
    uint64_t all = value.axes.empty() ? value.bytes : value.element;
    for (int size : value.axes) {
      const int64_t one = results[static_cast<size_t>(size)];
      if (one < 0 || __builtin_mul_overflow(all, static_cast<uint64_t>(one), &all)) all = UINT64_MAX;
    }
    bytes.push_back(all);
  }
  return bytes;
}

// Where an input and an output lie in one memory with room, their bytes become those of the whole. Throws Error where they
// cannot.
void make_room(const Plan& plan, const std::vector<int64_t>& results, const std::vector<int64_t>& rooms,
               std::vector<uint64_t>& bytes) {
  if (rooms.size() != plan.growths().size())
    throw Error("expected " + std::to_string(plan.growths().size()) + " rooms, got " + std::to_string(rooms.size()));
  for (size_t g = 0; g < rooms.size(); ++g) {
    if (rooms[g] == 0) continue;
    const Growth& growth = plan.growths()[g];
    const auto axis = static_cast<size_t>(growth.axis);
    for (int v : {plan.inputs()[static_cast<size_t>(growth.input)], plan.outputs()[static_cast<size_t>(growth.output)]}) {
      const PlanValue& value = plan.values()[static_cast<size_t>(v)];
      uint64_t all = value.element;
      for (size_t i = 0; i < value.axes.size(); ++i) {
        const int64_t size = results[static_cast<size_t>(value.axes[i])];
        if (size < 0 || (i == axis && size > rooms[g]) || (i < axis && size != 1 && !growth.apart))
          throw Error("room for " + std::to_string(rooms[g]) + " positions does not do for value " + std::to_string(v));
        if (__builtin_mul_overflow(all, static_cast<uint64_t>(i == axis ? rooms[g] : size), &all)) all = UINT64_MAX;
      }
      bytes[static_cast<size_t>(v)] = all;
    }
  }
}

Arrays bind(const Plan& plan, nb::sequence inputs, nb::sequence outputs, const std::vector<int64_t>& sizes,
            const std::vector<int64_t>& rooms = {}) {
  std::vector<uint64_t> now;
  if (plan.sizes().program.count()) {
    const std::vector<int64_t> results = results_at(plan, sizes);
    now = bytes_at(plan, results);
    if (!rooms.empty()) make_room(plan, results, rooms, now);
  }
  const auto bytes_of = [&](int v) {
    return now.empty() ? plan.values()[static_cast<size_t>(v)].bytes : now[static_cast<size_t>(v)];
  };
  if (nb::len(inputs) != plan.inputs().size() || nb::len(outputs) != plan.outputs().size())
    throw Error("expected " + std::to_string(plan.inputs().size()) + " inputs and " +
                std::to_string(plan.outputs().size()) + " outputs, got " + std::to_string(nb::len(inputs)) + " and " +
                std::to_string(nb::len(outputs)));
  Arrays arrays;
  arrays.held.reserve(plan.inputs().size() + plan.outputs().size());
  size_t i = 0, j = 0;
  for (nb::handle object : inputs) {
    add(arrays, object, false, i, bytes_of(plan.inputs()[i]));
    ++i;
  }
  for (nb::handle object : outputs) {
    add(arrays, object, true, j, bytes_of(plan.outputs()[j]));
    ++j;
  }
  std::vector<std::pair<size_t, size_t>> grown;
  for (size_t g = 0; g < rooms.size() && !now.empty(); ++g) {
    const auto input = static_cast<size_t>(plan.growths()[g].input), output = static_cast<size_t>(plan.growths()[g].output);
    if (rooms[g] == 0) continue;
    if (arrays.in[input] != arrays.out[output])
      throw Error("output " + std::to_string(output) + " has room behind input " + std::to_string(input) +
                  ": expected the same memory");
    grown.emplace_back(input, output);
  }
  check_apart(arrays, grown);
  return arrays;
}

[[noreturn]] void raise(Session& session, int code) {
  if (code == Session::kBusy)
    throw std::runtime_error("this session is running in another thread; give each thread its own");
  if (code == Session::kNoMemory) throw std::bad_alloc();
  if (code == Session::kForked)
    throw std::runtime_error("this session uses a device that belongs to the process that opened it, and a forked child has no "
                             "part in it; start processes that use the device by 'spawn'");
  const int step = session.last_error().step;
  const std::string label = step < 0 ? "" : session.plan().steps()[static_cast<size_t>(step)].label;
  const std::string where = step < 0 ? "the end of the run" : "step " + std::to_string(step) + " ('" + label + "')";
  if (const std::exception_ptr error = code == Session::kThrown ? session.take_thrown() : take_python_error()) {
    try {
      std::rethrow_exception(error);
    } catch (nb::python_error& e) {
      if (nb::hasattr(e.value(), "add_note")) e.value().attr("add_note")("raised in " + where + " of a plan");
      throw;
    } catch (const Error& e) {
      throw Error(where + ": " + e.what());
    }
  }
  if (code == Session::kUnfit) throw Unfit(where + ": " + session.message());
  if (code == kNoRoom) {
    const std::string refused = " found a value of " + std::to_string(session.refused()) +
                                " bytes; expected at most those of the environment variable PATHWEAVE_MAX_BYTES";
    PyErr_SetString(PyExc_MemoryError, (where + (session.refused() ? refused : " " + failure_text(code))).c_str());
    throw nb::python_error();
  }
  if (code == kMisfit) throw std::overflow_error(where + " " + failure_text(code));
  if (code == kOutside) throw std::out_of_range(where + " " + failure_text(code));
  throw std::runtime_error(where + " " + failure_text(code));
}

// Runs `body` without the GIL, as long as nobody wants it to end; raises what it fails with.
template <class Body>
void run_without_gil(Session& session, Body&& body) {
  CallStop stop;
  int code;
  if (const auto& sizes = session.plan().sizes(); sizes.program.symbols().size() > sizes.given) {
    const char* text = std::getenv("PATHWEAVE_MAX_BYTES");  // while no one changes it: the interpreter's lock is held
    session.limit_values(text && *text ? std::strtoull(text, nullptr, 10) : UINT64_MAX);
  }
  {
    Unlocked unlocked;
    const StopScope scope(&stop);
    code = body();
  }
  if (code == Session::kStopped) stop.raise();
  if (code != 0) raise(session, code);
}

void run(Session& session, nb::sequence inputs, nb::sequence outputs, const std::vector<int64_t>& sizes,
         const std::vector<int64_t>& rooms) {
  const Arrays arrays = bind(session.plan(), inputs, outputs, sizes, rooms);
  run_without_gil(session, [&] {
    return session.run(arrays.in.data(), arrays.out.data(), sizes.data(), nullptr, nullptr,
                       rooms.empty() ? nullptr : rooms.data());
  });
}

using TouchText = std::tuple<int, uint64_t, uint64_t, bool>;

nb::list queue_waits(const std::vector<std::pair<int, std::vector<TouchText>>>& steps, const std::vector<int>& devices) {
  std::vector<QueuedWork> work;
  for (const auto& [queue, touches] : steps) {
    if (queue < -1 || queue >= static_cast<int>(devices.size()))
      throw Error("queue " + std::to_string(queue) + " of " + std::to_string(devices.size()));
    work.push_back({queue, {}});
    for (const auto& [space, first, last, write] : touches) work.back().touches.push_back({space, first, last, write});
  }
  nb::list all;
  for (const StepWaits& waits : waits_of(work, devices))
    all.append(nb::make_tuple(nb::cast(waits.host), nb::cast(waits.queue), waits.record));
  return all;
}

using Times = nb::ndarray<nb::numpy, int64_t>;

// Of a timed run: the nanoseconds of each step, and from the begin of the run to its begin.
std::pair<Times, Times> run_timeline(Session& session, nb::sequence inputs, nb::sequence outputs,
                                     const std::vector<int64_t>& sizes) {
  const Arrays arrays = bind(session.plan(), inputs, outputs, sizes);
  const size_t count = session.plan().steps().size();
  auto times = std::make_unique<int64_t[]>(count ? count : 1), starts = std::make_unique<int64_t[]>(count ? count : 1);
  run_without_gil(session,
                  [&] { return session.run(arrays.in.data(), arrays.out.data(), sizes.data(), times.get(), starts.get()); });
  const auto give = [&](std::unique_ptr<int64_t[]> list) {
    int64_t* data = list.release();
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<int64_t*>(p); });
    return Times(data, {count}, owner);
  };
  return {give(std::move(times)), give(std::move(starts))};
}

Times run_timed(Session& session, nb::sequence inputs, nb::sequence outputs, const std::vector<int64_t>& sizes) {
  return run_timeline(session, inputs, outputs, sizes).first;
}

// The sizes of a late value, and its bytes.
nb::tuple late(const Session& session, size_t index) {
  Dims sizes;
  const void* data = session.late(index, sizes);
  if (index >= session.plan().sizes().late.size()) throw Error("late value " + std::to_string(index) + " does not exist");
  uint64_t bytes = session.plan().values()[static_cast<size_t>(session.plan().sizes().late[index])].element;
  for (int64_t size : sizes) bytes *= static_cast<uint64_t>(size);
  auto copy = std::make_unique<uint8_t[]>(bytes ? bytes : 1);
  if (bytes && data) std::memcpy(copy.get(), data, bytes);
  uint8_t* raw = copy.release();
  nb::capsule owner(raw, [](void* p) noexcept { delete[] static_cast<uint8_t*>(p); });
  return nb::make_tuple(sizes, nb::ndarray<nb::numpy, uint8_t>(raw, {static_cast<size_t>(bytes)}, owner));
}

}  // namespace

void bind_plan(nb::module_& m) {
  m.def("place", place_values, nb::arg("bytes"), nb::arg("device"), nb::arg("steps"), nb::arg("inputs"),
        nb::arg("outputs"),
        "Lays out values. steps: (ins, outs, [(in, out, offset)], [(in, out)]). Gives values [(root, offset, where)], "
        "arena bytes per device, peak, unshared.");
  nb::exception<Unfit>(m, "UnfitSizes", PyExc_RuntimeError);
  m.def("queue_waits", queue_waits, nb::arg("steps"), nb::arg("devices"),
        "For tests. steps: (queue or -1 for the host, [(space, first byte, last byte, whether it writes)]); devices: of each "
        "queue. Gives for each step (steps that the host waits for before, steps that its queue waits for, whether anybody "
        "waits for it).");
  nb::class_<Plan>(m, "Plan", "Prepared kernels in order, with every value's place; immutable, shared by threads.")
      .def(nb::new_(&make_plan), nb::arg("values"), nb::arg("steps"), nb::arg("inputs"), nb::arg("outputs"),
           nb::arg("threads"), nb::arg("sizes") = std::vector<SizeArgs>{}, nb::arg("open") = std::map<int, OpenValueArgs>{},
           nb::arg("control") = std::map<int, ControlArgs>{}, nb::arg("sets") = std::map<int, std::vector<SetArgs>>{},
           nb::arg("makers") = std::map<int, MakerArgs>{}, nb::arg("opens") = std::vector<int>{}, nb::arg("given") = 0,
           nb::arg("late") = std::vector<int>{}, nb::arg("most") = std::vector<int64_t>{},
           nb::arg("checks") = std::map<int, std::vector<CheckArgs>>{},
           "values: (bytes, device name); steps: (label, Kernel or None, ins, outs, [(in, out, offset)], [(in, out)]). What "
           "is not straight, see native/runtime/plan.h: sizes (word, a, b); open value -> (element bytes, sizes, pooled); "
           "control of step -> (word, target, loop, axis, count, (counted, tested, reversed)); sets of step -> (output, axis, "
           "symbol); maker of step -> (sizes, what makes a kernel of them); steps whose kernels take sizes as they come; "
           "how many symbols are given; values that are fetched after a run; the most that memory is planned for; checks "
           "of step -> ([(size, ==, >= or divides, size)], text), of which one must hold when the step begins.")
      .def("resized", &Plan::resized, nb::arg("most"), "The same plan with memory for other sizes of the given symbols.")
      .def_prop_ro("peak_bytes", [](const Plan& p) { return p.placement().peak; })
      .def_prop_ro("unshared_bytes", [](const Plan& p) { return p.placement().unshared; })
      .def_prop_ro("workspace_bytes", workspace_bytes)
      .def_prop_ro("elsewhere_bytes", elsewhere_bytes)
      .def_prop_ro("placement", [](const Plan& p) { return spots(p.placement()); })
      .def_prop_ro("threads", &Plan::threads)
      .def_prop_ro(
          "growths",
          [](const Plan& p) {
            nb::list all;
            for (const Growth& g : p.growths()) all.append(nb::make_tuple(g.input, g.output, g.axis, g.apart));
            return all;
          },
          "Outputs that are an input with more positions behind it: (input, output, axis, whether the axes in front of it may "
          "have more than one position).")
      .def(
          "session", [](std::shared_ptr<Plan> p) { return Session::make(std::move(p)); },
          "A caller's own state over this plan. Raises MemoryError.");
  nb::class_<Session>(m, "Session", "One caller's state over a plan; for one thread at a time.")
      .def("run", run, nb::arg("inputs"), nb::arg("outputs"), nb::arg("sizes") = std::vector<int64_t>{},
           nb::arg("rooms") = std::vector<int64_t>{},
           "Runs the plan on contiguous arrays, in place. rooms: of each growth of the plan, for how many positions the array "
           "has room that is both input and output; 0 for two arrays of their own. Raises ValueError for wrong sizes, "
           "RuntimeError when a step fails, or what a Python kernel raised.")
      .def("late", late, nb::arg("index"), "Sizes and bytes of a value that is fetched after a run, of the last one.")
      .def(
          "counts",
          [](const Session& session) {
            const std::vector<int64_t>* counts = session.counts();
            return counts ? nb::cast(*counts) : nb::none();
          },
          "How often each step of the plan ran in the last run; None where each runs once.")
      .def("symbols", &Session::symbols, "Sizes of the last run: the symbols among those of the plan, in order.")
      .def("run_timed", run_timed, nb::arg("inputs"), nb::arg("outputs"), nb::arg("sizes") = std::vector<int64_t>{},
           "The same; gives the nanoseconds of each step, by the clock of its device.")
      .def("run_timeline", run_timeline, nb::arg("inputs"), nb::arg("outputs"),
           nb::arg("sizes") = std::vector<int64_t>{},
           "The same; gives (nanoseconds of each step, nanoseconds from the begin of the run to its begin), by the clock of "
           "its device: steps of devices with queues may run at the same time.");
}

}  // namespace pw::python
