#include "runtime/catalogue.h"

#include <cerrno>
#include <new>

#include "base/error.h"
#include "base/stop.h"
#include "runtime/estimates.h"

namespace pw {
namespace {

constexpr size_t kReason = 1024;

void append_text(void* context, const char* text) {
  static_cast<std::vector<std::string>*>(context)->emplace_back(text ? text : "");
}

int index_of(std::string_view digits) {
  int value = 0;
  if (digits.empty() || digits.size() > 6) throw Error("'" + std::string(digits) + "' is not an index");
  for (char c : digits) {
    if (c < '0' || c > '9') throw Error("'" + std::string(digits) + "' is not an index");
    value = value * 10 + (c - '0');
  }
  return value;
}

int64_t offset_of(std::string_view digits) {
  uint64_t value = 0;
  if (digits.empty() || digits.size() > 18) throw Error("'" + std::string(digits) + "' is not an offset");
  for (char c : digits) {
    if (c < '0' || c > '9') throw Error("'" + std::string(digits) + "' is not an offset");
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  return value;
}

std::vector<Format> parse_formats(std::string_view list) {
  std::vector<Format> formats;
  if (!list.empty())
    for (auto part : split(list, ',')) formats.push_back(parse_format(part));
  return formats;
}

// IN>OUT
std::pair<int, int> parse_arrow(std::string_view text) {
  const auto ends = split(text, '>');
  if (ends.size() != 2) throw Error("'" + std::string(text) + "': expected IN>OUT");
  return {index_of(ends[0]), index_of(ends[1])};
}

Ports parse_ports(const std::string& line) {
  Ports ports;
  for (auto word : split(line, ' ')) {
    if (word.empty()) continue;
    const size_t equals = word.find('=');
    const auto name = word.substr(0, equals);
    const auto value = equals == std::string_view::npos ? std::string_view{} : word.substr(equals + 1);
    if (name == "in") {
      ports.in = parse_formats(value);
    } else if (name == "out") {
      ports.out = parse_formats(value);
    } else if (name == "share") {
      const auto parts = split(value, '@');
      if (parts.size() != 2) throw Error("'" + std::string(word) + "': expected share=IN>OUT@BYTES");
      const auto [in, out] = parse_arrow(parts[0]);
      const bool inside = parts[1].starts_with('-');  // the output lies in the input
      const int64_t offset = offset_of(parts[1].substr(inside ? 1 : 0));
      ports.share.push_back({in, out, inside ? -offset : offset});
    } else if (name == "reuse") {
      const auto [in, out] = parse_arrow(value);
      ports.reuse.push_back({in, out});
    } else if (name == "order") {
      const bool before = value.starts_with('-');
      ports.order = index_of(value.substr(before ? 1 : 0)) * (before ? -1 : 1);
    } else {
      throw Error("'" + std::string(word) + "' is not a word of a ports line");
    }
  }
  return ports;
}

void check_ports(const Ports& ports, const Problem& problem) {
  const auto dynamic = problem.dynamic();
  if (ports.in.size() != dynamic.size() || ports.out.size() != problem.out.size())
    throw Error("it names " + std::to_string(ports.in.size()) + " inputs and " + std::to_string(ports.out.size()) +
                " outputs, expected " + std::to_string(dynamic.size()) + " and " + std::to_string(problem.out.size()));
  auto check = [](const Format& format, const Tensor& t) {
    if (!fits(format.layout, t.shape)) throw Error("a value of this shape has no layout " + text(format));
  };
  for (size_t i = 0; i < dynamic.size(); ++i) check(ports.in[i], problem.in[dynamic[i]]);
  for (size_t i = 0; i < problem.out.size(); ++i) check(ports.out[i], problem.out[i]);
  auto known = [&](int in, int out) {
    return in < static_cast<int>(ports.in.size()) && out < static_cast<int>(ports.out.size());
  };
  for (const auto& s : ports.share)
    if (!known(s.in, s.out)) throw Error("its ports line shares a port that it does not have");
  for (const auto& r : ports.reuse)
    if (!known(r.in, r.out)) throw Error("its ports line reuses a port that it does not have");
}

Ports ports_of(const pw_routine_table* routine, const Problem& problem) {
  std::vector<std::string> lines;
  if (routine->ports(routine, problem.text.c_str(), &lines, append_text) != 0 || lines.size() != 1)
    throw Error("it accepts the problem but does not name its ports");
  Ports ports = parse_ports(lines[0]);
  check_ports(ports, problem);
  return ports;
}

// "" when the routine accepts.
std::string refusal(const DeviceRoutine& routine, const Problem& problem) {
  if (!routine.unavailable.empty()) return routine.unavailable;
  if (problem.epilogue && !(routine.table->flags & PW_ROUTINE_TAKES_EPILOGUE)) return "takes no epilogue";
  char reason[kReason] = "";
  if (routine.table->accepts(routine.table, problem.text.c_str(), reason, sizeof reason) == 0) return {};
  return *reason ? reason : "declines without a reason";
}

// What a routine says that it does in each of its variants; none where it does not say.
std::vector<Estimate> estimates_of(const pw_routine_table* routine, const Problem& problem,
                                   const std::vector<std::string>& variants) {
  std::vector<Estimate> all;
  for (const auto& variant : variants) {
    const auto one = estimate_of(routine, problem, variant);
    if (!one) return {};
    all.push_back(*one);
  }
  return all;
}

Candidate ask(const DevicePtr& device, const DeviceRoutine& routine, const Problem& problem) {
  Candidate c{device, routine.table, refusal(routine, problem), {}, {}, {}};
  if (!c.reason.empty()) return c;
  try {
    c.ports = ports_of(routine.table, problem);
    if (routine.table->variants(routine.table, problem.text.c_str(), &c.variants, append_text) != 0 ||
        c.variants.empty())
      throw Error("it accepts the problem but lists no variant");
    c.estimates = estimates_of(routine.table, problem, c.variants);
  } catch (const Error& e) {
    c.reason = e.what();  // a broken routine is one that is not used
    c.variants.clear();
  }
  return c;
}

std::pair<DevicePtr, const DeviceRoutine*> find_routine(const std::string& id) {
  for (const auto& device : devices())
    if (const DeviceRoutine* routine = device->find(id)) return {device, routine};
  throw Error("routine '" + id + "' is not in the catalogue of any open device");
}

}  // namespace

std::vector<Candidate> candidates(const std::string& text) {
  const Problem problem = Problem::parse(text);
  std::vector<Candidate> found;
  for (const auto& device : devices())
    for (const auto& routine : device->routines())
      if (problem.kind == routine.table->layer) found.push_back(ask(device, routine, problem));
  return found;
}

KernelPtr prepare(const std::string& text, const std::string& routine_id, const std::string& variant,
                  const Constants& constants, std::shared_ptr<void> keep) {
  const std::shared_ptr<const Problem> shared = Problem::shared(text);
  const Problem& problem = *shared;
  const auto [device, routine] = find_routine(routine_id);
  auto fail = [&](const std::string& why) { return Declined("routine " + routine_id + " on '" + text + "': " + why); };
  if (problem.kind != routine->table->layer)
    throw fail("it computes " + std::string(routine->table->layer));
  if (constants.size() != problem.in.size() + problem.out.size())
    throw fail("expected " + std::to_string(problem.in.size()) + " constants (none for values) and " +
               std::to_string(problem.out.size()) + " outputs, got " + std::to_string(constants.size()));
  for (size_t i = 0; i < problem.in.size(); ++i)
    if ((constants[i].data != nullptr) != problem.in[i].constant)
      throw fail("input " + std::to_string(i) +
                 (problem.in[i].constant ? " is a constant whose contents are missing" : " is not a constant"));
  if (const std::string why = refusal(*routine, problem); !why.empty()) throw fail(why);
  Ports ports;
  try {
    ports = ports_of(routine->table, problem);
  } catch (const Error& e) {
    throw fail(e.what());
  }
  std::vector<Port> in, out;
  const auto dynamic = problem.dynamic();
  const auto port = [](const Format& format, const Dims& sizes) {
    return Port{buffer_bytes(format, sizes), format.device, sizes};
  };
  try {
    for (size_t i = 0; i < dynamic.size(); ++i) in.push_back(port(ports.in[i], problem.in[dynamic[i]].shape));
    for (size_t i = 0; i < problem.out.size(); ++i) out.push_back(port(ports.out[i], problem.out[i].shape));
  } catch (const Error& e) {
    throw fail(e.what());
  }

  std::vector<pw_constant> given;
  for (const auto& c : constants) {
    pw_constant one{};
    one.size = sizeof one;
    one.data = c.data;
    if (c.data) {
      one.id = c.id;
    } else {
      one.scale = c.scale;
      one.zero_point = c.zero_point;
      one.dtype = c.scales.empty() ? nullptr : pw::text(c.dtype);
      one.axis = c.axis;
      one.count = static_cast<uint32_t>(c.scales.size());
      one.scales = c.scales.data();
      one.zero_points = c.zero_points.data();
    }
    given.push_back(one);
  }
  pw_kernel raw{};
  raw.size = sizeof raw;
  char reason[kReason] = "";
  const int code = routine->table->prepare(routine->table, text.c_str(), variant.c_str(), given.data(),
                                           static_cast<uint32_t>(given.size()), &raw, reason, sizeof reason);
  if (code == ENOMEM) throw std::bad_alloc();
  if (const Stop* stop = Stop::here(); code != 0 && stop && stop->ended()) throw Stopped();
  if (code != 0) throw fail("variant '" + variant + "': " + (*reason ? reason : "code " + std::to_string(code)));

  auto kernel = std::make_shared<const PreparedKernel>(raw, device, std::move(in), std::move(out), problem.threads,
                                                       std::move(keep));
  if (!raw.run) throw fail("it prepared a kernel without a run function");
  return kernel;
}

}  // namespace pw
