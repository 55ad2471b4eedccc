// Processor, devices and catalogue.
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "base/cpu.h"
#include "python/bindings.h"
#include "python/gil.h"

namespace pw::python {
namespace {

std::vector<std::string> names(const std::vector<Isa>& tiers) {
  std::vector<std::string> all;
  for (Isa isa : tiers) all.emplace_back(isa_name(isa));
  return all;
}

nb::dict cpu_info() {
  const Cpu& c = cpu();
  nb::dict d;
  d["found"] = names(c.found);
  d["compiled"] = names(c.compiled);
  d["used"] = names(c.used);
  d["cap"] = c.cap;
  d["warning"] = c.warning;
  d["model"] = c.model;
  d["features"] = c.features;
  d["l1d"] = c.l1d;
  d["l2"] = c.l2;
  d["l3"] = c.l3;
  return d;
}

// What a machine with these features would use: the rules of detection and cap, for any machine.
nb::dict tiers(const std::string& features, const std::vector<std::string>& compiled, const std::string& cap) {
  std::vector<Isa> built;
  for (const auto& name : compiled) {
    const auto isa = parse_isa(name);
    if (!isa) throw nb::value_error(("'" + name + "' is not a tier").c_str());
    built.push_back(*isa);
  }
  std::string warning;
  const auto found = tiers_of(features);
  const auto used = tiers_within(cap, found, built, warning);
  nb::dict d;
  d["found"] = names(found);
  d["used"] = names(used);
  d["warning"] = warning;
  return d;
}

nb::dict describe(const Device& device) {
  nb::dict d;
  d["name"] = device.name();
  d["description"] = device.description();
  d["available"] = device.available();
  d["score"] = device.score();
  d["reason"] = device.reason();
  d["clock"] = clock_name(device.clock());
  d["emulated"] = device.emulated();
  d["host_memory"] = device.host();
  d["threads_matter"] = device.threads_matter();
  d["identity"] = device.identity();
  const auto memory = device.available() ? device.memory(PW_MEMORY_DEVICE) : std::nullopt;
  d["free_bytes"] = memory ? nb::cast(memory->first) : nb::none();
  d["total_bytes"] = memory ? nb::cast(memory->second) : nb::none();
  d["capabilities"] = device.capabilities();
  d["path"] = device.path();
  return d;
}

const char* accuracy_name(uint32_t accuracy) {
  static constexpr const char* all[] = {"strict", "f32", "reduced", "quantised"};
  return accuracy <= PW_QUANTISED ? all[accuracy] : "unknown";
}

// What the card of a routine says.
nb::dict card(const Device& device, const pw_routine_table* routine) {
  nb::dict d;
  d["id"] = routine->id;
  d["version"] = routine->version;
  d["layer"] = routine->layer;
  d["accuracy"] = accuracy_name(routine->accuracy);
  d["reference"] = (routine->flags & PW_ROUTINE_REFERENCE) != 0;
  d["takes_epilogue"] = (routine->flags & PW_ROUTINE_TAKES_EPILOGUE) != 0;
  d["axis_scales"] = (routine->flags & PW_ROUTINE_AXIS_SCALES) != 0;
  d["device"] = device.name();
  d["requires"] = routine->requires_;
  return d;
}

nb::list list_devices() {
  nb::list all;
  for (const auto& device : devices()) all.append(describe(*device));
  return all;
}

nb::list list_routines() {
  nb::list all;
  for (const auto& device : devices())
    for (const auto& routine : device->routines()) {
      nb::dict d = card(*device, routine.table);
      d["unavailable"] = routine.unavailable;
      all.append(d);
    }
  return all;
}

std::vector<std::string> format_texts(const std::vector<Format>& formats) {
  std::vector<std::string> all;
  for (const auto& f : formats) all.push_back(text(f));
  return all;
}

nb::list list_candidates(const std::string& problem) {
  std::vector<Candidate> found;
  {
    Unlocked unlocked;
    found = candidates(problem);
  }
  nb::list all;
  for (const auto& c : found) {
    // Most decline; of those nobody asks more than why.
    nb::dict d;
    if (c.reason.empty()) d = card(*c.device, c.routine);
    else d["id"] = c.routine->id, d["device"] = c.device->name();
    d["ok"] = c.reason.empty();
    d["reason"] = c.reason;
    if (c.reason.empty()) {
      nb::list share, reuse;
      for (const auto& s : c.ports.share) share.append(nb::make_tuple(s.in, s.out, s.offset));
      for (const auto& r : c.ports.reuse) reuse.append(nb::make_tuple(r.in, r.out));
      d["variants"] = c.variants;
      d["ins"] = format_texts(c.ports.in);
      d["outs"] = format_texts(c.ports.out);
      d["share"] = share;
      d["reuse"] = reuse;
      d["order"] = c.ports.order;
      nb::list estimates;
      for (const auto& e : c.estimates) {
        nb::list moved;
        for (const auto& m : e.moved)
          if (m.bytes > 0) moved.append(nb::make_tuple(m.bytes, m.room));
        estimates.append(nb::make_tuple(e.operations, e.work, e.share, e.constants, e.pieces, e.phases, text(e.unit),
                                        nb::tuple(moved)));
      }
      d["estimates"] = estimates;
    }
    all.append(d);
  }
  return all;
}

nb::list open(const std::string& path) {
  std::vector<DevicePtr> found;
  {
    Unlocked unlocked;
    found = open_plugin(path);
  }
  nb::list all;
  for (const auto& device : found) all.append(describe(*device));
  return all;
}

uint64_t value_bytes(const std::string& format, const Dims& sizes) { return buffer_bytes(parse_format(format), sizes); }

}  // namespace

void bind_machine(nb::module_& m) {
  m.def("cpu_info", cpu_info, "What the processor and the operating system allow, and the cap of PATHWEAVE_ISA.");
  m.def("tiers", tiers, nb::arg("features"), nb::arg("compiled"), nb::arg("cap"),
        "The tiers found and used by a machine with these features, a build with these tiers, and this PATHWEAVE_ISA. "
        "Raises ValueError for a name that is not a tier.");
  m.def("usable_processors", usable_processors, "Processors that this process may use, at least 1.");
  m.def("devices", list_devices, "Every device of the process, absent ones with their reason; the CPU first.");
  m.def("open_plugin", open, nb::arg("path"),
        "Opens a device library and describes its devices; an absent one is listed with its reason.");
  m.def("value_bytes", value_bytes, nb::arg("format"), nb::arg("sizes"),
        "Bytes of a value of this format and these sizes on the format's device. Raises ValueError where that is not open or "
        "does not hold it.");
  m.def("routines", list_routines, "The card of every routine of every open device.");
  m.def("candidates", list_candidates, nb::arg("problem"),
        "What every routine of the problem's layer kind says to it. Raises ValueError for a malformed problem.");
}

}  // namespace pw::python
